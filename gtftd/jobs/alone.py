"""One supervisor a state directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from gtftd.errors import Busy
from gtftd.jobs.rundir import runs_folder


def supervising(state_dir: Path) -> contextlib.AbstractContextManager[None]:
    """The right to supervise the runs of this state; it goes with the process. Raises Busy where another has it."""
    folder = runs_folder(state_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / ".supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Busy(f"another process supervises the runs in {folder}") from None
    return _closing(descriptor)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
