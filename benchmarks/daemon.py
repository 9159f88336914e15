"""A real daemon on a sample town, as the other benchmarks want it: started, READY, watched from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from gtftd import logs
from gtftd.sampletown import make_town
from gtftd.sampletown.database import folder_of
from gtftd.sampletown.player import publish_port
from gtftd.sampletown.standin import StandIn

READY_S = 60.0
STOP_S = 60.0


@dataclass(frozen=True)
class Home:
    """A sample town, the state beside it, and a cache of bytecode, since an installed package has one."""

    folder: Path

    @property
    def town(self) -> Path:
        return self.folder / "town"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GTFTD_", "GT_"))}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        return kept | {
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "CLAUDE_CONFIG_DIR": str(self.town / ".claude-config"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }

    def prepare(self) -> Self:
        make_town(self.town)
        self.state.mkdir(exist_ok=True, mode=0o700)
        return self


class Daemon:
    """`gtftd` as a child; entering waits for READY=1 as systemd would, leaving ends it with SIGTERM."""

    def __init__(self, home: Home, **environ: str) -> None:
        self._home = home
        self._environ = environ
        self.ready_after_s = 0.0

    def __enter__(self) -> Self:
        address = self._home.folder / "notify"
        address.unlink(missing_ok=True)
        command = [sys.executable, "-m", "gtftd.programs.daemon", "--no-console"]
        command += ["--town", str(self._home.town), "--state-dir", str(self._home.state)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(address))
            listener.settimeout(READY_S)
            began = time.perf_counter()
            environ = self._home.environ | self._environ | {"NOTIFY_SOCKET": str(address)}
            self.process = subprocess.Popen(command, env=environ)
            while b"READY=1" not in listener.recv(4096):
                pass
            self.ready_after_s = time.perf_counter() - began
        self.watched = psutil.Process(self.process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_S)
        if status:
            raise SystemExit(f"the daemon ended with {status}")

    def server(self) -> psutil.Process:
        """The nats-server that it runs."""
        return next(child for child in self.watched.children() if child.name().startswith("nats-server"))


@contextlib.contextmanager
def beads_served(home: Home) -> Iterator[None]:
    """The stand-in for Dolt in a process of its own, so that it shares no interpreter with what is measured."""
    command = [sys.executable, __file__, str(folder_of(home.town))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        publish_port(home.town, int(server.stdout.readline()))
        yield
        server.stdin.close()


def serve_beads(folder: Path) -> None:
    with StandIn(folder) as standin:
        print(standin.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    logs.configure("error")
    serve_beads(Path(sys.argv[1]))
