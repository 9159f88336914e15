"""Starting the child of a run: a session of its own, its output in its folder, ceilings from its first moment on."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gtftd.jobs.adopt import Grip
from gtftd.jobs.ceilings import Ceilings, thread_environ
from gtftd.jobs.rundir import LOG


def launch(folder: Path, program: Sequence[str], ceilings: Ceilings, threads: int) -> Grip:
    """The child, held. Killed before it has the run's lock it leaves nothing; from then on others can adopt it."""
    told = json.dumps(dataclasses.asdict(ceilings))
    command = [sys.executable, "-P", "-m", "gtftd.jobs.child", str(folder), told, "--", *program]
    log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ | thread_environ(threads) | {"PYTHONUNBUFFERED": "1"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(folder / LOG), log, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return Grip(pid, os.pidfd_open(pid), is_ours=True)


def train_program(python: Path | None, folder: Path) -> list[str]:
    return [str(python or sys.executable), "-P", "-m", "gtftd.programs.train", str(folder)]
