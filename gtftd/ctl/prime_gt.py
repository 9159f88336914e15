"""gt's own prime: run in our place, or run unread for what it records of a session."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from gtftd.errors import Missing
from gtftd.town.programs import find_program

COMMAND = ("gt", "prime")
RECORDING_S = 30
"""How long gt may take for what nobody waits for; without work on the hook it looks for some for 16 s."""
REAL_GT = "GTFTD_REAL_GT"


def become_gt(
    *, hook: bool, raw: bytes = b"", role: str | None = None, environ: Mapping[str, str] = os.environ
) -> NoReturn:
    """Be `gt prime [--hook]` from here on, with the input that was read already; Missing without gt."""
    program = find_program(COMMAND[0], environ)
    if program is None:
        raise Missing("the full prime comes from gt, and there is no gt on the PATH; install it, or repair the PATH")
    if hook:
        os.dup2(_as_file(raw), 0)
    sys.stdout.flush()
    words = [*COMMAND, "--hook"] if hook else [*COMMAND]
    try:
        os.execve(program, words, dict(environ) | ({"GT_ROLE": role} if role else {}))
    except OSError as error:
        raise Missing(f"the full prime comes from gt, and {program} cannot be run: {error.strerror}") from error


def record_session(
    command: Sequence[str], raw: bytes, state_dir: Path, environ: Mapping[str, str] = os.environ
) -> bool:
    """Run gt's prime unread and alone: `session_start`, the session's id, GT_AGENT_READY and GT_WORK_* come from it.

    It must not read mail and nudges, which nobody would see then: a stand-in for `gt` keeps them (gt marks and
    drains what it prints). False when it cannot be started so; the session then lacks those records and nothing else.
    """
    limit, program = find_program("timeout", environ), find_program(command[0] if command else COMMAND[0], environ)
    if program is None or limit is None:
        return False
    words = [limit, "-k", "5", str(RECORDING_S), program, *(command[1:] or [*COMMAND[1:], "--hook"])]
    try:
        path = f"{_quiet(state_dir)}{os.pathsep}{environ.get('PATH', os.defpath)}"
        return _start_alone(words, raw, dict(environ) | {"PATH": path, REAL_GT: program})
    except OSError:
        return False


def _quiet(state_dir: Path) -> Path:
    """The folder with the stand-in; made where nothing was installed."""
    folder = state_dir.absolute() / "hooks" / "quiet"
    if not os.access(folder / "gt", os.X_OK):
        from gtftd.town.prime_script import install_stand_in

        install_stand_in(state_dir)
    return folder


def _start_alone(words: Sequence[str], raw: bytes, environ: dict[str, str]) -> bool:
    """In a session of its own, so that the end of ours, or the limit on it, is not its end."""
    given, nowhere = _as_file(raw), os.open(os.devnull, os.O_RDWR)
    try:
        os.posix_spawn(
            words[0],
            list(words),
            environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, given, 0),
                (os.POSIX_SPAWN_DUP2, nowhere, 1),
                (os.POSIX_SPAWN_DUP2, nowhere, 2),
            ],
            setsid=True,
        )
    finally:
        for descriptor in (given, nowhere):
            with contextlib.suppress(OSError):
                os.close(descriptor)
    return True


def _as_file(raw: bytes) -> int:
    """Something to read from that has an end and fills no pipe."""
    descriptor = os.memfd_create("gtftd-hook-input")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(raw)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
