"""Finds the town's transcripts among all that agents' programs keep, cheaply enough to do it every few minutes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path, PurePath

from gtftd.town.codex import rollout_files
from gtftd.town.layout import Town, TranscriptPlaces
from gtftd.town.opencode import sessions_in_database
from gtftd.town.opencode_store import databases, session_files
from gtftd.town.transcript import TranscriptHead, peek_transcript, written_at
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
    git_head: str | None = None


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
    """Opens each file once; afterwards a scan costs one stat a file, and for a session in many files one each."""

    def __init__(self) -> None:
        self._peeked: dict[str, _Peeked] = {}
        self._listed: dict[Path, tuple[object, tuple[Stray, ...]]] = {}

    def scan(self, town: Town, since: float) -> dict[str, Stray]:
        """Transcripts written to after `since` by agents inside `town`, by session id. Blocks on the disk."""
        places = town.transcript_places()
        files = sorted(_files(places, since), key=lambda file: file.written_at, reverse=True)
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
        for stray in self._in_databases(places, town, since):
            found[stray.session_id] = stray  # the files that it was migrated from tell no more
        return found

    def _in_databases(self, places: TranscriptPlaces, town: Town, since: float) -> Iterator[Stray]:
        """Asked again only when the database or its log was written to."""
        known, self._listed = self._listed, {}
        for folder in places.opencode:
            for path in databases(folder, places.opencode_database):
                signature = (town.root, *(_signature(path.with_name(path.name + end)) for end in ("", "-wal")))
                before = known.get(path)
                if before is None or before[0] != signature:
                    before = (signature, tuple(_of_database(path, town, since)))
                self._listed[path] = before
                yield from (stray for stray in before[1] if stray.written_at >= since)


def inside(town: Town, cwd: str) -> PurePath | None:
    """Where in the town a working directory is; None outside."""
    if not cwd.startswith("/") or "\0" in cwd:
        return None
    path = PurePath(os.path.normpath(cwd))
    for root in dict.fromkeys((town.root, town.root.resolve())):
        if path.is_relative_to(root):
            return path.relative_to(root)
    return None


def _files(places: TranscriptPlaces, since: float) -> Iterator[_File]:
    """The transcripts that are files of their own, or begin with one."""
    for path in chain(_claude_files(places.claude), rollout_files(places.codex)):
        try:
            status = path.stat()
        except OSError:
            continue
        if status.st_mtime >= since and stat.S_ISREG(status.st_mode):
            yield _File(str(path), status.st_size, status.st_mtime)
    for folder in places.opencode:
        for path in session_files(folder):
            written = _touched(path, since)
            if written is not None and written >= since:
                yield _File(str(path), 0, written)


def _claude_files(claude_dirs: Iterable[Path]) -> Iterator[Path]:
    for folder in claude_dirs:
        for project in _entries(folder / "projects"):
            for entry in _entries(project.path):
                # `agent-` names a side conversation of a session that has a file of its own.
                if entry.name.endswith(".jsonl") and not entry.name.startswith("agent-"):
                    yield Path(entry.path)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _touched(path: Path, since: float) -> float | None:
    """When a session of many files was written last; those with no message since are not looked into."""
    messages = path.parents[2] / "message" / path.stem
    try:
        latest = max(path.stat().st_mtime, messages.stat().st_mtime if messages.is_dir() else 0.0)
    except OSError:
        return None
    return latest if latest < since else written_at(path)


def _of_database(path: Path, town: Town, since: float) -> Iterator[Stray]:
    try:
        listed = sessions_in_database(path, since, PEEKS)
    except OSError:
        return
    for session, head in listed:
        place = inside(town, head.cwd) if head.cwd else None
        if head.cwd is not None and place is not None and is_text(str(session)):
            written = written_at(session) or 0.0
            yield Stray(head.session_id, session, written, head.started_at, head.cwd, place)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """None also for an empty file: whoever reads a database leaves an empty log behind."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None


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
    # A resumed session of Claude Code repeats lines of the one before: there the name tells, not the first line.
    session_id = head.session_id if path.name.startswith("rollout-") else path.stem
    if not 0 < len(session_id) <= 128 or not is_text(file.path):
        return None
    return Stray(session_id, path, file.written_at, head.started_at, head.cwd, place, head.git_head)
