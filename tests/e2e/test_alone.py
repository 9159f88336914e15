"""One daemon on one state directory, and nothing left behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.town import Daemon, SampleTown, until


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("alone") / "one"
    made = Daemon(SampleTown(folder), folder / "state")
    yield made
    made.end()


def living(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def test_a_second_daemon_is_turned_away(daemon: Daemon) -> None:
    """With exit code 1 and one line; the first one does not notice."""
    daemon.start_ready()
    second = subprocess.run(daemon.command, capture_output=True, text=True, check=False, env=daemon.town.environ)
    assert (1, "") == (second.returncode, second.stdout)
    assert second.stderr == f"error: another gtftd runs on {daemon.state_dir}; `gtftctl status` asks it how it is\n"
    assert daemon.is_ready()
    assert 1 == len(daemon.servers())
    daemon.stop()


def test_sigterm_ends_everything_cleanly(daemon: Daemon) -> None:
    """Exit code 0, no child, no socket that answers; a second signal meanwhile changes nothing."""
    daemon.start_ready()
    assert daemon.process is not None
    children = psutil.Process(daemon.process.pid).children(recursive=True)
    assert len(children) == 1
    daemon.process.terminate()
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.stop() == 0
    assert not any(living(child) for child in children)
    assert daemon.status() is None


@pytest.mark.parametrize("remembered", [True, False])
def test_an_orphaned_server_is_ended_by_the_next_start(daemon: Daemon, *, remembered: bool) -> None:
    """Also when its daemon died before it could note anything of it; other processes are left alone."""
    daemon.start_ready()
    (orphan,) = daemon.servers()
    daemon.kill()
    assert living(orphan)
    if not remembered:
        for name in ("port", "publisher.json"):
            (daemon.state_dir / "bus" / name).unlink()
    config = str(daemon.state_dir / "bus" / "server.conf")
    with subprocess.Popen([sys.executable, "-c", "input()", config], stdin=subprocess.PIPE) as bystander:
        daemon.start_ready()
        until(lambda: (status := daemon.status()) and status.bus.connected, "the bus is back")
        assert not living(orphan)
        assert bystander.poll() is None
        bystander.communicate(b"\n")
    assert [daemon.process and daemon.process.pid] == [server.ppid() for server in daemon.servers()]
    assert daemon.stop() == 0
    assert daemon.servers() == []


def test_a_server_that_hangs_does_not_keep_the_daemon_from_ending(daemon: Daemon) -> None:
    """It is killed when it does not end."""
    daemon.start_ready()
    (server,) = daemon.servers()
    os.kill(server.pid, signal.SIGSTOP)
    assert daemon.stop() == 0
    assert not living(server)


def test_logs_stay_free_of_tracebacks(daemon: Daemon) -> None:
    """Over all these lives, nothing ended by a bug."""
    assert "Traceback" not in daemon.told()
    assert '"exception"' not in (Path(daemon.state_dir) / "logs" / "gtftd.log").read_text()
