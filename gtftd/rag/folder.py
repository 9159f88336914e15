"""The index's folder on disk: who owns it, and how large it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Self

from gtftd.errors import Conflict

_LOCK = "owner.lock"


class FolderLock:
    """The kernel frees it when we die, however we die. Two processes on one Chroma folder break it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Raises Conflict when another process owns the folder."""
        path = folder / _LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Conflict(
                f"the index in {folder} is owned by another process (pid {owner}); it has one owner at a time: "
                "ask the daemon with `gtftctl rag`, or stop that process first"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return cls(descriptor)

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def bytes_in(folder: Path) -> int:
    """Of all files below; files and folders that vanish meanwhile are not counted."""
    total = 0
    for here, _, names in os.walk(folder):  # `rglob` raises when a folder goes that it is about to look into
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(here, name).lstat().st_size
    return total


def resident_bytes() -> int:
    """Memory of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
