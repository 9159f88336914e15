"""The live view in a real terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.control import control_server

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")


@dataclass(frozen=True)
class Terminal:
    """A tmux server of its own, whose socket is in `folder`: nothing of another test or person is met there."""

    folder: Path

    def tmux(self, *words: str) -> str:
        """What it answers; when it refuses, what it says about it."""
        environment = {**os.environ, "TMUX_TMPDIR": str(self.folder), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        environment.pop("TMUX", None)
        told = subprocess.run(["tmux", *words], capture_output=True, text=True, env=environment, timeout=60)
        assert told.returncode == 0, f"tmux {' '.join(words)}: {told.stderr or told.stdout}"
        return told.stdout

    def send(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A shell of 80 x 24."""
    with tempfile.TemporaryDirectory(prefix="gtftd-") as folder:  # tmp_path may be too long for a socket
        terminal = Terminal(Path(folder))
        terminal.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", str(tmp_path), "sh")
        yield terminal
        terminal.tmux("kill-server")


def seen(terminal: Terminal, words: str) -> str:
    for _ in range(600):
        if words in (screen := terminal.screen()):
            return screen
        time.sleep(0.05)
    raise AssertionError(f"{words!r} is not on the screen:\n{terminal.screen()}")


def test_it_fills_the_terminal_and_gives_it_back(tmp_path: Path, terminal: Terminal) -> None:
    """All parts on 24 lines; after Ctrl-C what was there before, and exit code 0."""
    program = f"{sys.executable} -P -c 'from gtftd.ctl import main; main()' watch --state-dir {tmp_path}/state"
    with control_server(tmp_path / "state" / "run" / "control.sock"):
        terminal.send(f"clear; echo be''fore; {program}; echo code $?", "Enter")
        screen = seen(terminal, "merged")
        for words in ("running", "spool", "collect_bead", "gt-abc12", "/state/entries", "Ctrl-C ends"):
            assert words in screen
        assert len(screen.splitlines()) == 24
        assert "before" not in screen
        terminal.send("C-c")
        screen = seen(terminal, "code 0")
    assert "before" in screen
    assert "╭" not in screen


def test_it_outlives_the_daemon(tmp_path: Path, terminal: Terminal) -> None:
    """It waits for the next one, and goes on with that."""
    path = tmp_path / "state" / "run" / "control.sock"
    program = f"{sys.executable} -P -c 'from gtftd.ctl import main; main()' watch --state-dir {tmp_path}/state"
    with control_server(path):
        terminal.send(program, "Enter")
        seen(terminal, "collect_bead")
    seen(terminal, "waiting for the daemon")
    with control_server(path):
        seen(terminal, "collect_bead")
