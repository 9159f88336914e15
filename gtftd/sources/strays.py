"""Finds the town's transcripts among all of Claude Code's, cheaply enough to do it every few minutes."""

from __future__ import annotations

import os
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


@dataclass(frozen=True)
class _File:
    path: str
    size_bytes: int
    written_at: float


class TranscriptScan:
    """Opens each file once; afterwards a scan costs one stat a file."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[int, TranscriptHead | None]] = {}

    def scan(self, town: Town, since: float) -> dict[str, Stray]:
        """Transcripts written to after `since` by agents inside `town`, by session id. Blocks on the disk."""
        files = sorted(_files(town.claude_dirs(), since), key=lambda file: file.written_at, reverse=True)
        self._heads = {file.path: self._heads[file.path] for file in files if file.path in self._heads}
        peeks = 0
        found: dict[str, Stray] = {}
        for file in files:
            if self._must_peek(file):
                if peeks >= PEEKS:
                    continue
                peeks += 1
                self._heads[file.path] = (file.size_bytes, _peek(Path(file.path)))
            stray = _stray(file, self._heads[file.path][1], town)
            if stray is not None:
                found.setdefault(stray.session_id, stray)
        return found

    def _must_peek(self, file: _File) -> bool:
        """A head that names a working directory is final; others may come as the file grows."""
        known = self._heads.get(file.path)
        if known is None:
            return True
        size_bytes, head = known
        return (head is None or head.cwd is None) and file.size_bytes != size_bytes


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
                if status.st_mtime >= since and entry.is_file():
                    yield _File(entry.path, status.st_size, status.st_mtime)


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _peek(path: Path) -> TranscriptHead | None:
    try:
        return peek_transcript(path)
    except OSError:
        return None


def _stray(file: _File, head: TranscriptHead | None, town: Town) -> Stray | None:
    if head is None or head.cwd is None:
        return None
    place = inside(town, head.cwd)
    path = Path(file.path)
    if place is None or not 0 < len(path.stem) <= 128 or not is_text(file.path):
        return None
    # The name, not the first line: a resumed session repeats lines of the one before.
    return Stray(path.stem, path, file.written_at, head.started_at, head.cwd, place)
