"""The daemon's own log file: its last lines, and what is added to it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from gtftd.schemas.control import LogLine, LogsParams

POLL_S = 0.25
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def log_file(state_dir: Path) -> Path:
    """Where `gtftd.logs.configure` writes; older ones are beside it, `.1` to `.5`."""
    return state_dir / "logs" / "gtftd.log"


def last_lines(file: Path, count: int, level: str = "debug") -> list[str]:
    """The last `count` lines at least as grave as `level`, oldest first, past one rotation."""
    kept: deque[str] = deque(maxlen=count)
    for path in (file.with_name(file.name + ".1"), file):
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                kept.extend(line.rstrip("\n") for line in lines if _is_grave(line, level))
        except FileNotFoundError:
            continue
    return list(kept)


async def tail_log(file: Path, params: LogsParams) -> AsyncIterator[LogLine]:
    """The handler of the verb `logs`: the last lines, then with `follow` every new one, past rotations."""
    reader = _Follower(file)
    await asyncio.to_thread(reader.start)
    for line in await asyncio.to_thread(last_lines, file, params.lines, params.level):
        yield LogLine(line=line)
    while params.follow:
        for line in await asyncio.to_thread(reader.read):
            if _is_grave(line, params.level):
                yield LogLine(line=line)
        await asyncio.sleep(POLL_S)


class _Follower:
    """Reads whole lines that are added to a file which may be renamed away."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._inode = 0
        self._offset = 0

    def start(self) -> None:
        """Skip what is there."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return
        self._inode, self._offset = found.st_ino, found.st_size

    def read(self) -> list[str]:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return []
        older: list[str] = []
        if found.st_ino != self._inode or found.st_size < self._offset:
            older = self._rest_of_rotated()
            self._inode, self._offset = found.st_ino, 0
        lines, self._offset = _read_lines(self._file, self._offset)
        return older + lines

    def _rest_of_rotated(self) -> list[str]:
        rotated = self._file.with_name(self._file.name + ".1")
        try:
            same = rotated.stat().st_ino == self._inode
        except FileNotFoundError:
            return []
        return _read_lines(rotated, self._offset)[0] if same else []


def _read_lines(path: Path, offset: int) -> tuple[list[str], int]:
    with path.open("rb") as file:
        file.seek(offset)
        added = file.read()
    whole = added[: added.rfind(b"\n") + 1]
    return whole.decode("utf-8", "replace").splitlines(), offset + len(whole)


def _is_grave(line: str, level: str) -> bool:
    if level == "debug":
        return True
    try:
        given = str(json.loads(line).get("level", "info"))
    except (ValueError, AttributeError):
        return True
    return _LEVELS.get(given, 20) >= _LEVELS[level]
