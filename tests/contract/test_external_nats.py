"""The server configuration in docs/nats.md, run as it stands there."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nats
import nats.errors
import pytest

from gtftd.bus.embedded import find_binary
from gtftd.schemas.event import Envelope, Event
from gtftd.schemas.settings import BusSettings
from tests.support.bus import place, reaction, touched, until

DOCUMENT = Path(__file__).parents[2] / "docs" / "nats.md"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def documented_config(folder: Path, port: int) -> Path:
    [text] = re.findall(r"```conf\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    file = folder / "nats.conf"
    file.write_text(text.replace("4222", str(port)).replace("/var/lib/nats", str(folder / "store")))
    return file


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    chosen = free_port()
    command = [str(find_binary(BusSettings())), "-c", str(documented_config(tmp_path, chosen))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        yield chosen
        server.terminate()


async def test_the_documented_rights_are_enough_for_the_daemon_and_for_publishers(tmp_path: Path, port: int) -> None:
    """A daemon with the documented user reacts to what a documented publisher says, and to its own facts."""
    seen: list[str] = []

    async def note(event: Event) -> None:
        seen.append(event.bead)  # type: ignore[attr-defined]

    settings = BusSettings(url=f"nats://127.0.0.1:{port}", daemon_password="choose-one")
    async with place(tmp_path / "state", [reaction("note", note)], settings=settings) as here:
        client = await nats.connect(
            settings.url, user="publisher", password="choose-another", inbox_prefix=b"_INBOX_publisher"
        )
        event = touched("gt-remote")
        envelope = Envelope.wrap(event, id="from-afar", source="rig/harbor", time=event.at)
        for _ in range(2):
            subject, headers = "gtftd.town.bead.touched", {"Nats-Msg-Id": "from-afar"}
            await client.jetstream().publish(subject, envelope.encode(), headers=headers)
        await until(lambda: seen)
        await until(here.runtime.idle)
        assert ["gt-remote"] == seen
        await client.close()


async def test_a_publisher_may_not_speak_for_the_daemon(port: int) -> None:
    """Facts and the JetStream API are closed to the publisher's password."""
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error))

    client = await nats.connect(
        f"nats://127.0.0.1:{port}",
        user="publisher",
        password="choose-another",
        inbox_prefix=b"_INBOX_publisher",
        error_cb=on_error,
    )
    for subject in ("gtftd.fact.entry.stored", "$JS.API.STREAM.CREATE.X", "_INBOX.somebody"):
        with pytest.raises((nats.errors.Error, asyncio.TimeoutError)):
            await client.request(subject, b"{}", timeout=0.5)
    assert 3 == sum("permissions violation" in error for error in refused)
    await client.close()
