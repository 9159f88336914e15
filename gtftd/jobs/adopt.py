"""Who the child of a run is: whoever holds the run's lock, so that a number given to another is never signalled."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

LOCK = "run.lock"
_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` (fcntl(2)): type, whence, start, length, pid."""


@dataclass
class Grip:
    """A living child, held by its pidfd: what is done to it is done to no other. `release` it."""

    pid: int
    pidfd: int
    is_ours: bool
    """Started by this process, which must bury it."""

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; 0 for a child that others started. None while it lives."""
        if not self.is_ours:
            return None if _is_alive(self.pidfd) else 0
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def release(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def try_grip(folder: Path) -> Grip | None:
    """The living child that somebody started before; None where there is none."""
    pid = lock_holder(folder)
    if pid is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    if lock_holder(folder) != pid:  # after the opening: now the number cannot change hands
        os.close(pidfd)
        return None
    return Grip(pid, pidfd, is_ours=False)


def lock_holder(folder: Path) -> int | None:
    """The pid of the run's child, told by the kernel, which takes the lock away with it. Asking takes no lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return pid if kind != fcntl.F_UNLCK and pid > 1 else None


def start_ticks(pid: int) -> int | None:
    """When it began, in clock ticks after boot (proc_pid_stat(5), field 22). None for a process that is no more."""
    fields = _stat(pid)
    return None if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


def is_stopped(pid: int) -> bool:
    """By a signal (SIGSTOP, SIGTSTP) or a debugger: it lives, and can say nothing until somebody lets it go on."""
    return _stat(pid)[:1] in ([b"T"], [b"t"])


def _stat(pid: int) -> list[bytes]:
    """From its state (field 3) on; empty for a process that is no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return stat[stat.rindex(b")") + 2 :].split()  # its name may hold blanks and brackets


def _is_alive(pidfd: int) -> bool:
    """A zombie is not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)
