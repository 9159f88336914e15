"""What the daemon leans on may be away: it says so by name, waits, and catches up by itself."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd.bus.embedded import find_binary
from gtftd.schemas.settings import BusSettings
from tests.support.survival import check_truth
from tests.support.town import Daemon, SampleTown, check_whole, final_state, until


@contextlib.contextmanager
def daemon_of(folder: Path, config: str = "") -> Iterator[Daemon]:
    town = SampleTown(folder)
    daemon = Daemon(town, folder / "state", config=config)
    town.install_hooks(daemon.state_dir)
    try:
        yield daemon
    finally:
        town.stop()
        daemon.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def external_server(folder: Path, port: int) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    (folder / "nats.conf").write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/store", sync_interval: always }}\n'
        'authorization { users = [ { user: daemon, password: "let-me-in" } ] }\n'
    )
    with (folder / "nats.log").open("ab") as log:
        command = [str(find_binary(BusSettings())), "-c", str(folder / "nats.conf")]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_everything_goes_away_and_comes_back(tmp_path: Path) -> None:
    """An external NATS that is not there at the start and goes once more, the beads server, a rig, an e-stop."""
    port = free_port()
    config = f'[bus]\nurl = "nats://127.0.0.1:{port}"\ndaemon_password = "let-me-in"\n'
    with daemon_of(tmp_path / "day", config) as daemon:
        town = daemon.town
        daemon.start_ready()
        town.play(800)
        daemon.wait_until_warm()
        assert "nats.unreachable" == daemon.degraded()["nats"]
        until(lambda: (status := daemon.status()) and status.outbox > 20, "facts wait in the outbox")
        with external_server(tmp_path / "nats", port):
            until(lambda: "nats" not in daemon.degraded(), "NATS is found")
            until(lambda: daemon.sql("SELECT count(*) FROM entries")[0][0] > 3, "entries are stored")
        until(lambda: daemon.degraded().get("nats") == "nats.unreachable", "it is gone again")
        with external_server(tmp_path / "nats", port):
            check_estop(daemon)
            daemon.wait_for_the_day()
            check_day(daemon)
            check_beads_server(daemon)
            assert daemon.stop() == 0


def check_estop(daemon: Daemon) -> None:
    """Reactions stand still while the town's ESTOP stands, facts are kept, and it goes on afterwards."""
    mark = daemon.town.root / "ESTOP"
    mark.write_text("manual\t2026-03-01T00:00:00Z\tsmoke in the engine room\n")
    until(lambda: (status := daemon.status()) and status.state == "estop", "the daemon stops")
    until(lambda: (status := daemon.status()) and not any(one.running for one in status.reactions), "all is still")
    before = daemon.sql("SELECT count(*) FROM reactions WHERE state = 'done'")
    streamed = messages(daemon)
    until(lambda: messages(daemon) > streamed, "facts are kept on the bus")
    assert before == daemon.sql("SELECT count(*) FROM reactions WHERE state = 'done'")
    status = daemon.status()
    assert status is not None
    assert "smoke in the engine room" in [stop.reason for stop in status.estop]
    mark.unlink()
    until(lambda: (status := daemon.status()) and status.state == "running", "it goes on")


def messages(daemon: Daemon) -> int:
    status = daemon.status()
    return sum(stream.messages for stream in status.bus.streams) if status else 0


def check_day(daemon: Daemon) -> None:
    state = final_state(daemon.state_dir)
    check_whole(state)
    check_truth(state, daemon.town.truth)


def check_beads_server(daemon: Daemon) -> None:
    """The stand-in is stopped and started again for another day."""
    daemon.town.stop()
    until(lambda: "dolt.unreachable" in daemon.degraded().values(), "the beads server is missed")
    closes = len(final_state(daemon.state_dir).closes)
    daemon.town.play(None, seed=2)
    until(lambda: "dolt.unreachable" not in daemon.degraded().values(), "it is found")
    until(lambda: len(final_state(daemon.state_dir).closes) > closes, "its closes are told")


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_the_stop_of_a_rig_and_a_rig_that_is_missing(tmp_path: Path) -> None:
    """Only that rig's beads wait; a missing folder is named until it is back."""
    with daemon_of(tmp_path / "day") as daemon:
        town = daemon.town
        (town.root / "ESTOP.harbor").write_text("manual\t2026-03-01T00:00:00Z\tnot now\n")
        (town.root / "lantern").rename(town.root / "lantern-away")
        daemon.start_ready()
        until(lambda: daemon.degraded().get("rig:lantern") == "rig.missing", "the missing rig is named")
        (town.root / "lantern-away").rename(town.root / "lantern")
        town.play(2000)
        daemon.wait_until_warm()
        count = "SELECT count(*) FROM closes WHERE database = '{}'"
        until(lambda: daemon.sql(count.format("lantern"))[0][0] > 3, "the other rig's closes are reacted to")
        assert 0 == daemon.sql(count.format("harbor"))[0][0]
        status = daemon.status()
        assert status is not None
        assert ("running", ["harbor"]) == (status.state, [stop.rig for stop in status.estop])
        (town.root / "ESTOP.harbor").unlink()
        daemon.wait_for_the_day()
        check_day(daemon)
        until(lambda: "rig:lantern" not in daemon.degraded(), "the rig is back")
