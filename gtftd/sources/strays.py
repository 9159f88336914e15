"""Finds the town's transcripts among all of Claude Code's, cheaply enough to do it every few minutes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath

from gtftd.town.layout import Town
from gtftd.town.transcript import TranscriptHead, peek_transcript
from gtftd.town.watched import is_text

PEEKS = 2000
"""Most files to open in one scan; the newest come first, the rest in the next scan."""


@dataclass(frozen=True)
class Stray:
    """A session's transcript: when it was written last, and where its agent worked inside the town."""

    session_id: str
    path: Path
    written_at: float
    started_at: datetime | None
    cwd: str
    place: PurePath
    """`cwd` relative to the town's root."""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size_bytes: int
    written_at: float


@dataclass(frozen=True, slots=True)
class _Peeked:
    """What one look into a file said; `place` is None outside the town, or while it names no directory."""

    size_bytes: int
    is_final: bool
    head: TranscriptHead | None
    place: PurePath | None


class TranscriptScan:
    """Opens each file once; afterwards a scan costs one stat a file."""

    def __init__(self) -> None:
        self._peeked: dict[str, _Peeked] = {}

    def scan(self, town: Town, since: float) -> dict[str, Stray]:
        """Transcripts written to after `since` by agents inside `town`, by session id. Blocks on the disk."""
        files = sorted(_files(town.claude_dirs(), since), key=lambda file: file.written_at, reverse=True)
        self._peeked = {file.path: self._peeked[file.path] for file in files if file.path in self._peeked}
        left = PEEKS
        found: dict[str, Stray] = {}
        for file in files:
            known = self._peeked.get(file.path)
            if known is None or (not known.is_final and known.size_bytes != file.size_bytes):
                if not left:
                    continue
                left -= 1
                known = self._peeked[file.path] = _peek(file, town)
            stray = _stray(file, known)
            if stray is not None:
                found.setdefault(stray.session_id, stray)
        return found


def inside(town: Town, cwd: str) -> PurePath | None:
    """Where in the town a working directory is; None outside."""
    if not cwd.startswith("/") or "\0" in cwd:
        return None
    path = PurePath(os.path.normpath(cwd))
    for root in dict.fromkeys((town.root, town.root.resolve())):
        if path.is_relative_to(root):
            return path.relative_to(root)
    return None


def written_at(path: Path) -> float | None:
    """Unix seconds; None where there is no such file."""
    try:
        return path.stat().st_mtime
    except (OSError, ValueError):
        return None


def _files(claude_dirs: Iterable[Path], since: float) -> Iterator[_File]:
    for folder in claude_dirs:
        for project in _entries(folder / "projects"):
            for entry in _entries(project.path):
                if not entry.name.endswith(".jsonl") or entry.name.startswith("agent-"):
                    continue  # a side conversation of a session that has a file of its own
                try:
                    status = entry.stat()
                except OSError:
                    continue
                if status.st_mtime >= since and stat.S_ISREG(status.st_mode):
                    yield _File(entry.path, status.st_size, status.st_mtime)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _peek(file: _File, town: Town) -> _Peeked:
    """A head that names a working directory is final; others may come as the file grows."""
    try:
        head = peek_transcript(Path(file.path))
    except OSError:
        head = None
    if head is None or head.cwd is None:
        return _Peeked(file.size_bytes, False, None, None)
    return _Peeked(file.size_bytes, True, head, inside(town, head.cwd))


def _stray(file: _File, peeked: _Peeked) -> Stray | None:
    head, place = peeked.head, peeked.place
    if head is None or head.cwd is None or place is None:
        return None
    path = Path(file.path)
    if not 0 < len(path.stem) <= 128 or not is_text(file.path):
        return None
    # The name, not the first line: a resumed session repeats lines of the one before.
    return Stray(path.stem, path, file.written_at, head.started_at, head.cwd, place)
