"""Runs the hooks of a beads database as `bd` does (gastown.md 3.5)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gtftd.logs import get_logger

TIMEOUT_S = 10.0
log = get_logger("sampletown")


def run_bead_hook(
    folder: Path, change: str, bead: str, issue_json: str, environ: Mapping[str, str] | None = None
) -> bool:
    """Run `on_<change> <bead> <change>` with the issue on standard input, if it is executable.

    True when it ran. After 10 seconds its process group is killed; what it returns is nobody's concern.
    """
    hook = folder / f"on_{change}"
    if os.environ.get("BD_NO_HOOKS") == "1" or not os.access(hook, os.X_OK):
        return False
    return run_limited([str(hook), bead, change], issue_json, environ, cwd=folder, timeout_s=TIMEOUT_S)


def run_limited(
    command: list[str], text: str, environ: Mapping[str, str] | None, *, cwd: Path, timeout_s: float
) -> bool:
    """Run a command in a process group of its own, with `text` on standard input; kill the group when late."""
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=cwd,
            env=None if environ is None else dict(environ),
            start_new_session=True,
        )
    except OSError as error:
        log.warning("hook.failed", command=command[0], error=str(error))
        return False
    try:
        child.communicate(text.encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        log.warning("hook.killed", command=command[0], after_s=timeout_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
    return True
