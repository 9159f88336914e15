"""What a run says of itself: `heartbeat`, and `progress.ndjson` in whole lines. Without torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from gtftd.schemas.training import StepLine
from gtftd.state.files import is_full

PROGRESS = "progress.ndjson"
HEARTBEAT = "heartbeat"
_TAIL_BYTES = 65_536


class Journal:
    """Lines are only ever added. A run that went on from a checkpoint tells its steps again: the last line counts."""

    def __init__(self, folder: Path, heard: Callable[[StepLine], None] = lambda _: None) -> None:
        """`heard` is told each line that was added."""
        self._heard = heard
        self._file = folder / PROGRESS
        self._heart = folder / HEARTBEAT
        self._file.touch(mode=0o600)
        _cut_torn_line(self._file)

    def beat(self) -> None:
        """We are alive. Works on a full disk, once the file is there."""
        try:
            self._heart.touch(mode=0o600)
        except OSError as error:
            if not is_full(error):
                raise

    def tell(self, line: StepLine) -> bool:
        """Add the line; False when the disk is full, and then nothing of it is there."""
        content = line.model_dump_json().encode() + b"\n"
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND)
        try:
            is_told = _append_whole(descriptor, content)
        finally:
            os.close(descriptor)
        if is_told:
            self._heard(line)
        return is_told


def read_progress(folder: Path) -> Iterator[StepLine]:
    """Every whole line; one that is being written, or is no StepLine, is left out."""
    try:
        lines = (folder / PROGRESS).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield StepLine.model_validate_json(line)
        except ValidationError:
            continue


def _append_whole(descriptor: int, content: bytes) -> bool:
    size = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, content)
    except OSError as error:
        if not is_full(error):
            raise
        written = 0
    if written == len(content):
        return True
    os.ftruncate(descriptor, size)
    return False


def _cut_torn_line(file: Path) -> None:
    """A line without its end was being written when the run was killed."""
    with file.open("r+b") as progress:
        size = progress.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL_BYTES)
        progress.seek(start)
        tail = progress.read()
        if tail and not tail.endswith(b"\n"):
            progress.truncate(start + tail.rfind(b"\n") + 1)
