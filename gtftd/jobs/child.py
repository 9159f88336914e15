"""The first thing that a child is: it takes its run's lock, lowers itself, says who it is, and becomes the program.

Run as `python -P -m gtftd.jobs.child RUN_DIR CEILINGS -- PROGRAM...`. The lock goes with the process, however it
dies, so that a run never has two children, whatever became of those who started them. It is a record lock (fcntl(2)):
kept by what the process becomes, and inherited by nobody whom it starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

from gtftd.jobs import ceilings
from gtftd.jobs.adopt import LOCK, start_ticks

TAKEN = 75
"""EX_TEMPFAIL: another child of this run lives."""
_LOCK_FD = 198
"""Above what a program opens for itself."""


def main() -> None:
    folder, asked, program = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[4:]
    _take_lock(folder)
    for problem in ceilings.impose(ceilings.Ceilings(**asked), folder.name):
        sys.stderr.write(f"ceiling not set: {problem}\n")
    sys.stderr.flush()
    _say_who(folder)
    os.execv(program[0], program)  # the same pid goes on as the program


def _take_lock(folder: Path) -> None:
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, _LOCK_FD, inheritable=True)
    os.close(descriptor)  # before the lock is taken: closing any descriptor of the file gives it up
    try:
        fcntl.lockf(_LOCK_FD, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(TAKEN)


def _say_who(folder: Path) -> None:
    """For people: supervisors ask the lock. Killed in the middle, the file is the one before or there is none."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    aside = folder / ".pid.json.tmp"
    aside.write_text(json.dumps({"pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "boot_id": boot}))
    aside.rename(folder / "pid.json")


if __name__ == "__main__":
    main()
