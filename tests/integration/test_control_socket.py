"""The control socket: who may call, what happens to garbage, how it starts and ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd.control.client import ControlClient
from gtftd.control.server import Limits
from gtftd.control.wire import Internal
from gtftd.errors import Busy, Conflict, Invalid, Missing, NoDaemon, Refused, Unreachable
from gtftd.schemas.control import StatusResult
from tests.support.control import Daemon, control_server


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with control_server(tmp_path / "run" / "control.sock") as served:
        yield served


def raw(path: Path, *lines: bytes) -> list[dict[str, object]]:
    """Send lines as they are, and read everything until the daemon hangs up or answered each."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(20)
        end.connect(str(path))
        with contextlib.suppress(BrokenPipeError):
            end.sendall(b"".join(lines))
            end.shutdown(socket.SHUT_WR)
        return [json.loads(line) for line in end.makefile("rb")]


def request(**fields: object) -> bytes:
    return json.dumps({"v": 1, "id": 5, "verb": "status", **fields}).encode() + b"\n"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_verb_answers_its_model(daemon: Daemon) -> None:
    """What the handler returned is what the caller reads."""
    answer = ControlClient(daemon.path).call("status")
    assert daemon.status() == StatusResult.model_validate(answer)


def test_the_frame_is_versioned_and_keeps_the_id(daemon: Daemon) -> None:
    """Several requests on one connection are answered in order, with their own ids."""
    answers = raw(daemon.path, request(id="a", verb="version"), request(id=2, verb="version"))
    assert [(one["v"], one["id"], one["ok"]) for one in answers] == [(1, "a", True), (1, 2, True)]


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (request(v=2), "Invalid", "this daemon speaks version 1"),
        (request(v="1"), "Invalid", "this daemon speaks version 1"),
        (request(extra=1), "Invalid", "extra"),
        (request(verb="statuz"), "Missing", "unknown verb 'statuz'; this daemon knows drain, entries, health"),
        (request(verb="pause", params={"reason": 1}), "Invalid", "reason: Input should be a valid string, not '1'"),
        (request(verb="pause", params={"whom": "x"}), "Invalid", "whom: Extra inputs are not permitted"),
        (request(params=[]), "Invalid", "params"),
        (b"GET / HTTP/1.1\r\n", "Invalid", "not a line of JSON"),
        (b"\x00\xff\n", "Invalid", "not a line of JSON"),
        (b'{"v":1,' + b" " * 70_000 + b'"id":1}\n', "Invalid", "at most 65536 bytes"),
    ],
)
def test_a_wrong_request_is_told_why(daemon: Daemon, line: bytes, kind: str, words: str) -> None:
    """Every mistake has a class and a message that names it."""
    (answer,) = raw(daemon.path, line)
    told = answer["error"]
    assert isinstance(told, dict)
    assert (False, kind) == (answer["ok"], told["class"])
    assert words in told["message"]


def test_errors_of_a_verb_arrive_as_their_class(daemon: Daemon) -> None:
    """And an unforeseen one arrives without its detail."""
    client = ControlClient(daemon.path)
    with pytest.raises(Missing, match="no reaction is called unknown"):
        client.call("pause", reaction="unknown")
    with pytest.raises(Internal, match=r"^test.crash: ZeroDivisionError; see"):
        client.call("test.crash")
    assert client.call("version")["version"] == "0.1.0"


def test_a_stream_ends_by_itself(daemon: Daemon) -> None:
    """All lines, then the end."""
    assert len(list(ControlClient(daemon.path).stream("logs", lines=3))) == 3


def test_a_stream_ends_when_the_caller_hangs_up(daemon: Daemon) -> None:
    """A watcher that goes away leaves nothing open in the daemon."""
    before = open_files()
    for _ in range(20):
        stream = ControlClient(daemon.path).stream("watch")
        assert next(stream)["name"] == "bead.closed"
        stream.close()
    assert ControlClient(daemon.path).call("version")
    settle(lambda: open_files() <= before)


def test_a_stream_says_when_the_daemon_died(tmp_path: Path) -> None:
    """The end of a daemon is not the end of a stream."""
    path = tmp_path / "control.sock"
    with control_server(path):
        stream = ControlClient(path).stream("watch")
        next(stream)
        next(stream)
    with pytest.raises(Unreachable, match="went away"):
        next(stream)


def test_the_server_ends_quietly_under_a_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A watcher that is still there when the daemon stops is no error."""
    path = tmp_path / "control.sock"
    with control_server(path):
        stream = ControlClient(path).stream("watch")
        next(stream)
    stream.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_no_daemon_is_told_with_what_to_do(tmp_path: Path) -> None:
    """The message names the town and the command that starts one."""
    with pytest.raises(NoDaemon, match=r"no gtftd runs for /my/gt .*start it with `gtftctl run`"):
        ControlClient(tmp_path / "control.sock", whom="/my/gt").call("status")


def test_socket_is_private(daemon: Daemon) -> None:
    """0600 in 0700."""
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (daemon.path, daemon.path.parent)]
    assert modes == [0o600, 0o700]


def test_another_user_is_refused(daemon: Daemon) -> None:
    """Even where the file modes would let them in, the kernel tells who calls."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    daemon.path.chmod(0o666)
    for folder in (daemon.path.parent, *daemon.path.parent.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o711)
    script = (
        "import os, socket, sys; os.setuid(65534); end = socket.socket(socket.AF_UNIX);"
        "end.connect(sys.argv[1]); print(end.recv(1000).decode())"
    )
    child = subprocess.run([sys.executable, "-c", script, str(daemon.path)], capture_output=True, check=True)
    told = json.loads(child.stdout)["error"]
    assert (told["class"], "uid 65534 may not control" in told["message"]) == ("Refused", True)


def test_a_second_daemon_is_refused(daemon: Daemon) -> None:
    """The first one keeps answering."""
    with pytest.raises(Conflict, match="runs here already"), control_server(daemon.path):
        pass
    assert ControlClient(daemon.path).call("version")


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    """A SIGKILL leaves a file on which nobody listens."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.with_suffix(".lock").write_text("")
    with control_server(path):
        assert ControlClient(path).call("version")
    assert not path.exists()


def test_too_many_connections_are_refused_and_forgotten(tmp_path: Path) -> None:
    """The 65th caller is told so; when one leaves, the next is served."""
    path = tmp_path / "control.sock"
    with control_server(path, limits=Limits(connections=4)):
        held = [ControlClient(path).stream("watch") for _ in range(4)]
        for stream in held:
            next(stream)
        with pytest.raises(Busy, match="4 connections are open already"):
            ControlClient(path).call("version")
        held.pop().close()
        settle(lambda: _answers(path))
        for stream in held:
            stream.close()


def test_slow_writers_are_cut(tmp_path: Path) -> None:
    """Neither an idle caller nor half a line holds a place for long."""
    path = tmp_path / "control.sock"
    with control_server(path, limits=Limits(idle_s=0.2, read_s=0.2)):
        with socket.socket(socket.AF_UNIX) as idle:
            idle.connect(str(path))
            assert idle.recv(100) == b""
        with socket.socket(socket.AF_UNIX) as slow:
            slow.connect(str(path))
            slow.sendall(b'{"v":')
            assert b"no whole line within" in slow.recv(1000)


def test_a_reader_that_does_not_read_is_cut(tmp_path: Path) -> None:
    """A stuck terminal cannot fill the daemon's memory."""
    path = tmp_path / "control.sock"
    with control_server(path, limits=Limits(write_s=0.2)), socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(str(path))
        stuck.settimeout(20)
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            while True:
                stuck.sendall(request(verb="status") * 50)


def test_ten_thousand_garbage_connections_hurt_nobody(daemon: Daemon) -> None:
    """No descriptor is lost, and a caller beside them is served all the time."""
    garbage = [b"", b"\n", b"x" * 100 + b"\n", b'{"v":1', b"\x00" * 5000, b"[" * 2000 + b"\n", b"{}\n", b"\xff\n"]
    ControlClient(daemon.path).call("version")
    before = open_files()
    served: list[bool] = []
    stop = threading.Event()

    def call_on() -> None:
        while not stop.is_set():
            served.append(_answers(daemon.path))

    beside = threading.Thread(target=call_on)
    beside.start()
    for number in range(10_000):
        with socket.socket(socket.AF_UNIX) as end, contextlib.suppress(OSError):
            end.connect(str(daemon.path))
            end.sendall(garbage[number % len(garbage)])
    stop.set()
    beside.join()
    settle(lambda: open_files() <= before)
    assert any(served)
    assert _answers(daemon.path)


def _answers(path: Path) -> bool:
    try:
        return bool(ControlClient(path).call("version"))
    except (Busy, Invalid, Refused, Unreachable):
        return False


def settle(condition: object) -> None:
    """Wait for what the daemon does a moment after the caller left."""
    assert callable(condition)
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    assert condition()
