"""Reads a growing file by whole lines, whatever others do to it: rename, truncate, rewrite, remove."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

ANCHOR_BYTES = 256
CHUNK_BYTES = 1024 * 1024
_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Position:
    """How far we read. `anchor` is the sha256 of the up to 256 bytes before `offset`: they must not change."""

    inode: int = 0
    offset: int = 0
    anchor: str = _NOTHING
    is_skipping: bool = False
    """We stand inside a line that is longer than allowed."""
    is_again: bool = False
    """A file was begun a second time. It stays: a cut file is empty before its lines come back."""


@dataclass(frozen=True)
class Line:
    offset: int
    content: bytes
    """Without the newline."""


@dataclass(frozen=True)
class Batch:
    """What one read gave; `position` is where to go on. `too_long` are offsets of lines left out."""

    lines: tuple[Line, ...]
    too_long: tuple[int, ...]
    position: Position
    has_more: bool


class Tail:
    """Keeps the file open, so that lines are not lost when it is renamed away before we read them."""

    def __init__(self, path: Path, *, max_line_bytes: int) -> None:
        self._path = path
        self._max_line_bytes = max_line_bytes
        self._chunk_bytes = max(CHUNK_BYTES, max_line_bytes + 1)
        self._descriptor: int | None = None

    def read(self, position: Position, limit: int = 500) -> Batch:
        """At most `limit` whole lines after `position`. Blocks on the disk. Raises OSError, except for Missing.

        A position that does not fit the file (another inode, shorter, other bytes before the offset)
        starts again from zero with `is_again`.
        """
        try:
            descriptor = self._open()
            if descriptor is None:
                return Batch((), (), position, has_more=False)
            return self._read(descriptor, position, limit)
        except OSError:
            self.close()  # another file may lie there next time
            raise

    def _read(self, descriptor: int, position: Position, limit: int) -> Batch:
        inode = os.fstat(descriptor).st_ino
        found = self._around(descriptor, position) if position.inode == inode else None
        if found is None:
            position = Position(inode, is_again=position.inode != 0)
            found = b"", os.pread(descriptor, self._chunk_bytes, 0)
        before, data = found
        batch = self._split(position, before, data, limit)
        if not batch.has_more and self._is_replaced(inode):
            if batch.position.offset == position.offset:
                self.close()  # read to its end: the next read opens the new one
            return replace(batch, has_more=True)
        return batch

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int | None:
        if self._descriptor is None:
            with contextlib.suppress(FileNotFoundError):
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        return self._descriptor

    def _around(self, descriptor: int, position: Position) -> tuple[bytes, bytes] | None:
        """The anchor's bytes and what follows them; None when these are not the bytes that we read."""
        start = max(0, position.offset - ANCHOR_BYTES)
        length = position.offset - start
        found = os.pread(descriptor, length + self._chunk_bytes, start)
        if len(found) < length or _digest(found[:length]) != position.anchor:
            return None
        return found[:length], found[length:]

    def _split(self, position: Position, before: bytes, data: bytes, limit: int) -> Batch:
        lines: list[Line] = []
        too_long: list[int] = []
        used, is_skipping, is_full = 0, position.is_skipping, False
        while not is_full and (end := data.find(b"\n", used)) >= 0:
            offset = position.offset + used
            if is_skipping:
                is_skipping = False
            elif end - used > self._max_line_bytes:
                too_long.append(offset)
            else:
                lines.append(Line(offset, data[used:end]))
            used = end + 1
            is_full = len(lines) + len(too_long) >= limit
        rest = len(data) - used
        if not is_full and (rest > self._max_line_bytes or (is_skipping and rest)):
            if not is_skipping:
                too_long.append(position.offset + used)
            is_skipping, used = True, len(data)
        has_more = is_full or len(data) >= self._chunk_bytes
        new = Position(
            inode=position.inode,
            offset=position.offset + used,
            anchor=_digest((before + data[:used])[-ANCHOR_BYTES:]),
            is_skipping=is_skipping,
            is_again=position.is_again,
        )
        return Batch(tuple(lines), tuple(too_long), new, has_more)

    def _is_replaced(self, inode: int) -> bool:
        try:
            return self._path.stat().st_ino != inode
        except FileNotFoundError:
            return False


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
