"""The spool: a maildir of what hooks and `gtftctl emit` left for the daemon, one whole file a fact."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gtftd.errors import Invalid, Missing
from gtftd.logs import get_logger
from gtftd.state.crash import crash_point
from gtftd.state.files import fsync_folder, write_atomic
from gtftd.town.spool_events import to_event
from gtftd.town.spool_file import MAX_FILE_BYTES, SpoolFile, parse_spool_file

__all__ = ["MAX_FILE_BYTES", "Spool", "SpoolFile", "parse_spool_file", "to_event"]

log = get_logger("spool")


@dataclass(frozen=True)
class Spool:
    """`tmp` is being written, `new` is whole and waits, `parked` was given up.

    `transcripts` holds second names of what Claude Code wrote, `<session id>.jsonl`.
    """

    root: Path

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def new(self) -> Path:
        return self.root / "new"

    @property
    def transcripts(self) -> Path:
        return self.root / "transcripts"

    @property
    def parked(self) -> Path:
        return self.root / "parked"

    def ensure(self) -> None:
        """Make the folders, 0700: transcripts hold whatever an agent saw."""
        for folder in (self.root, self.tmp, self.new, self.transcripts, self.parked):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def pending(self) -> list[Path]:
        """What waits in `new`, oldest first."""
        return [path for _, path in sorted(_files(self.new))]

    def adoptable(self, now: datetime, min_age_s: float) -> list[Path]:
        """Whole files in `tmp` whose hook died, or lost its rename, at least `min_age_s` ago; oldest first.

        A hook that is merely slow loses nothing: its own rename then finds no file, and it exits.
        """
        return [path for path in self._aged(now, min_age_s) if _is_whole(path)]

    def torn(self, now: datetime, min_age_s: float) -> list[Path]:
        """Files in `tmp` that nobody will finish: they may be deleted."""
        return [path for path in self._aged(now, min_age_s) if not _is_whole(path)]

    def adopt(self, path: Path) -> Path:
        """Move a file of `adoptable` to `new`; a second call, or a race with its hook, is harmless."""
        return self._move(path, self.new)

    def park(self, path: Path) -> Path:
        """Move a file aside for good; a second call is harmless."""
        return self._move(path, self.parked)

    def put_event(self, envelope_json: bytes) -> Path:
        """Spool an envelope for the daemon, durable when this returns. Raises NoSpace on a full disk."""
        name = f"emit-{secrets.token_hex(16)}-{os.getpid()}"
        content = b"gtftd-hook 1 emit %b\n\n%b\n# end %b\n" % (name.encode(), envelope_json, name.encode())
        if len(content) > MAX_FILE_BYTES:
            raise Invalid(f"an event of {len(envelope_json)} bytes is too large: {MAX_FILE_BYTES}")
        self.ensure()
        write_atomic(self.tmp / name, content)
        crash_point("spool.written")
        return self._move(self.tmp / name, self.new)

    def _aged(self, now: datetime, min_age_s: float) -> list[Path]:
        limit_ns = int((now - timedelta(seconds=min_age_s)).timestamp() * 1e9)
        return [path for (mtime_ns, _), path in sorted(_files(self.tmp)) if mtime_ns <= limit_ns]

    def _move(self, path: Path, folder: Path) -> Path:
        target = folder / path.name
        try:
            path.rename(target)
        except FileNotFoundError:
            if not target.exists():
                log.info("spool.vanished", name=path.name)
            return target
        fsync_folder(folder)
        return target


def _files(folder: Path) -> list[tuple[tuple[int, str], Path]]:
    """Ordinary files with their age; one that vanishes meanwhile is not listed."""
    found = []
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        found.append(((status.st_mtime_ns, entry.name), Path(entry.path)))
    return found


def _is_whole(path: Path) -> bool:
    try:
        parse_spool_file(path)
    except (Invalid, Missing):
        return False
    return True
