"""sd_notify against a real datagram socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gtftd.control import notify


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_states_arrive(tmp_path: Path, kind: str) -> None:
    """Both kinds of address that systemd uses work."""
    address = str(tmp_path / "notify") if kind == "path" else f"@gtftd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0", 1))
        sent = notify.notify(notify.READY, notify.status("all\nwell"), environ={"NOTIFY_SOCKET": address})
        assert (sent, receiver.recv(1024)) == (True, b"READY=1\nSTATUS=all well")


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere"}, {"NOTIFY_SOCKET": "x"}])
def test_without_systemd_nothing_happens(environ: dict[str, str]) -> None:
    """No socket, or a dead one, is no trouble."""
    assert notify.notify(notify.WATCHDOG, environ=environ) is False


def test_a_full_socket_does_not_block(tmp_path: Path) -> None:
    """A systemd that reads nothing can't stop the loop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        sent = [notify.notify(notify.WATCHDOG, environ=environ) for _ in range(2000)]
    assert (sent[0], sent[-1]) == (True, False)


def test_watchdog_interval_is_half_of_what_systemd_allows() -> None:
    """And it is None when systemd watches nobody, or somebody else."""
    mine = str(os.getpid())
    assert notify.watchdog_interval_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": mine}) == 15.0
    assert notify.watchdog_interval_s({"WATCHDOG_USEC": "30000000"}) == 15.0
    for environ in ({}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}):
        assert notify.watchdog_interval_s(environ) is None


def test_reloading_carries_the_monotonic_time() -> None:
    """Type=notify-reload compares it."""
    first, second = notify.reloading().splitlines()
    assert (first, second.removeprefix("MONOTONIC_USEC=").isdigit()) == ("RELOADING=1", True)
    assert notify.extend_timeout(1.5) == "EXTEND_TIMEOUT_USEC=1500000"
