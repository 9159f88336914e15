"""Files opened as what they must be: regular ones, never through a link, never waiting for a writer."""

from __future__ import annotations

import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

from gtftd.errors import Invalid

BUFFER_BYTES = 1 << 20


def open_regular(path: Path) -> BufferedReader:
    """For reading. Raises Invalid for a link, a folder, a device, a pipe, and for what cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "is a link" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise Invalid(f"{path.name} {why}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Invalid(f"{path.name} is no regular file")
    return BufferedReader(FileIO(descriptor, "rb"), BUFFER_BYTES)


def size_of(file: BufferedReader) -> int:
    return os.fstat(file.fileno()).st_size


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The whole file. Raises Invalid when it is larger."""
    with open_regular(path) as file:
        if size_of(file) > most_bytes:
            raise Invalid(f"{path.name} has {size_of(file)} bytes; at most {most_bytes} are allowed")
        return file.read(most_bytes)
