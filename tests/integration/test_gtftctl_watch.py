"""The live view in a real terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.control import control_server

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
SOCKET = f"gtftd-test-{os.getpid()}"


def tmux(*words: str) -> str:
    told = subprocess.run(["tmux", "-L", SOCKET, *words], capture_output=True, text=True, check=True, timeout=60)
    return told.stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """A shell of 80 x 24; calling it reads the screen."""
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", str(tmp_path), "sh")
    yield lambda: tmux("capture-pane", "-p")
    tmux("kill-server")


def seen(terminal: Callable[[], str], words: str) -> str:
    for _ in range(600):
        if words in (screen := terminal()):
            return screen
        time.sleep(0.05)
    raise AssertionError(f"{words!r} is not on the screen:\n{terminal()}")


def test_it_fills_the_terminal_and_gives_it_back(tmp_path: Path, terminal: Callable[[], str]) -> None:
    """All parts on 24 lines; after Ctrl-C what was there before, and exit code 0."""
    program = f"{sys.executable} -P -c 'from gtftd.ctl import main; main()' watch --state-dir {tmp_path}/state"
    with control_server(tmp_path / "state" / "run" / "control.sock"):
        tmux("send-keys", f"clear; echo be''fore; {program}; echo code $?", "Enter")
        screen = seen(terminal, "merged")
        for words in ("running", "spool", "collect_bead", "gt-abc12", "/state/entries", "Ctrl-C ends"):
            assert words in screen
        assert len(screen.splitlines()) == 24
        assert "before" not in screen
        tmux("send-keys", "C-c")
        screen = seen(terminal, "code 0")
    assert "before" in screen
    assert "╭" not in screen


def test_it_outlives_the_daemon(tmp_path: Path, terminal: Callable[[], str]) -> None:
    """It waits for the next one, and goes on with that."""
    path = tmp_path / "state" / "run" / "control.sock"
    program = f"{sys.executable} -P -c 'from gtftd.ctl import main; main()' watch --state-dir {tmp_path}/state"
    with control_server(path):
        tmux("send-keys", program, "Enter")
        seen(terminal, "collect_bead")
    seen(terminal, "waiting for the daemon")
    with control_server(path):
        seen(terminal, "collect_bead")
