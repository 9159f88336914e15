"""The projection as a part of the daemon and as commands, against the mimic of Dolt."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gtftd.projection import TABLES
from tests.support.dolt import Server, start_server
from tests.support.dolt_records import ENTRY, Records, gtftctl


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start_server("mimic", tmp_path_factory.mktemp("mimic"))
    yield started
    started.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.clear()
    return running


@pytest.fixture
async def records(tmp_path: Path, server: Server) -> AsyncIterator[Records]:
    made = Records(tmp_path, server.port)
    yield made
    made.close()


@contextlib.asynccontextmanager
async def projecting(records: Records) -> AsyncIterator[asyncio.Event]:
    projector = records.projector()
    task = asyncio.create_task(projector.run())
    try:
        yield projector.filled
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


def entries(server: Server) -> set[str]:
    return {row["entry_id"] for row in server.run("SELECT entry_id FROM corpus_entries")}


async def test_before_create_nothing_is_kept_and_nothing_complains(server: Server, records: Records) -> None:
    """The journal stays empty; `create` is noticed by itself, and everything is told."""
    records.one_of_each()
    async with projecting(records):
        await eventually(lambda: records.condition() == ("off", "") and records.waiting() == 0)
        assert "`gtftctl records create`" in records.health.board()[0].detail
        await records.create()
        await eventually(lambda: records.condition() == ("ok", "") and entries(server) == {"entry-1"})
    assert {} == await records.differences()


async def test_a_town_without_a_server_is_no_fault(server: Server, records: Records) -> None:
    """Who never made the tables is told nothing of an outage, and keeps no journal."""
    records.one_of_each()
    server.stop()
    try:
        async with projecting(records):
            await eventually(lambda: records.condition() == ("off", "") and records.waiting() == 0)
    finally:
        server.start()


async def test_switched_off_keeps_nothing_and_on_again_tells_everything(server: Server, records: Records) -> None:
    """What changed and what was removed meanwhile is told as it is then."""
    await records.create()
    records.one_of_each(1)
    records.one_of_each(2)
    await records.projector().sync()
    records.changes = {"enabled": False}
    async with projecting(records):
        records.other.execute("DELETE FROM entries WHERE entry_id = 'entry-1'")
        records.other.execute("UPDATE models SET status = 'gated'")
        await eventually(lambda: records.condition() == ("off", "") and records.waiting() == 0)
    assert {"entry-1", "entry-2"} == entries(server)
    records.changes = {}
    async with projecting(records):
        await eventually(lambda: records.condition() == ("ok", "") and entries(server) == {"entry-2"})
    assert {} == await records.differences()


async def test_a_change_is_told_when_it_is_rung(server: Server, records: Records) -> None:
    """Long before the next poll."""
    await records.create()
    records.changes = {"poll_s": 3600}
    async with projecting(records) as filled:
        await eventually(lambda: records.condition() == ("ok", ""))
        records.put("entries", entry_id="new", **ENTRY)
        filled.set()
        await eventually(lambda: entries(server) == {"new"})


async def test_tables_that_vanish_are_degraded_until_they_are_back(server: Server, records: Records) -> None:
    """The journal is not kept for them: once made again they are filled anew."""
    await records.create()
    records.one_of_each()
    async with projecting(records):
        await eventually(lambda: records.condition() == ("ok", ""))
        for table in ("gtftd_position", *(one.name for one in TABLES)):
            server.run(f"DROP TABLE {table}")
        records.put("entries", entry_id="new", **ENTRY)
        await eventually(lambda: records.condition() == ("degraded", "records.no_tables") and records.waiting() == 0)
        await records.create()
        await eventually(lambda: records.condition() == ("ok", "") and entries(server) == {"entry-1", "new"})
    assert {} == await records.differences()


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00" * 64, b"\x05\x00\x00\x00\x0a5.7\xff", b"\xff" * 300]
)
async def test_what_is_no_mysql_server_is_no_end_of_the_service(records: Records, said: bytes) -> None:
    """Somebody else took the port: the condition says so, and the service goes on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    await records.create()
    await records.projector().sync()
    stranger = await asyncio.start_server(answer, "127.0.0.1", 0)
    records.changes = {"port": stranger.sockets[0].getsockname()[1], "timeout_s": 2}
    async with stranger, projecting(records):
        await eventually(lambda: records.condition()[0] == "degraded")


async def test_a_journal_that_grows_too_long_is_given_up_for_a_refill(server: Server, records: Records) -> None:
    """An outage that outlasts `keep_rows` costs the order, never the outcome."""
    records.changes = {"keep_rows": 1000}
    await records.create()
    records.one_of_each()
    await records.projector().sync()
    server.stop()
    try:
        async with projecting(records):
            records.other.execute("BEGIN")
            for _ in range(1001):
                records.other.execute("UPDATE entries SET messages = messages + 1")
            records.other.execute("COMMIT")
            await eventually(lambda: records.waiting() == 0)
            assert ("degraded", "records.unreachable") == records.condition()
            records.other.execute("DELETE FROM entries")
            server.start()
            await eventually(lambda: records.condition() == ("ok", "") and entries(server) == set())
    finally:
        server.stop()
        server.start()
    assert {} == await records.differences()


async def test_daemon_and_command_take_turns(server: Server, records: Records) -> None:
    """Both write at once, for a while; nothing is lost and no round fails for good."""
    await records.create()
    async with projecting(records) as filled:
        for number in range(15):
            records.one_of_each(number + 1)
            filled.set()
            with contextlib.suppress(Exception):
                await records.projector().sync()
        await eventually(lambda: records.waiting() == 0 and records.condition() == ("ok", ""))
    assert 15 == len(entries(server))
    assert {} == await records.differences()


async def test_the_commands_from_create_to_verify(server: Server, records: Records) -> None:
    """Each says what it did and ends as its help promises."""
    records.one_of_each()
    shown = gtftctl(records, "create", "--dry-run")
    assert (0, 5) == (shown.returncode, shown.stdout.count("CREATE TABLE")), shown.stderr
    before = json.loads(gtftctl(records, "status", "--json").stdout)
    assert ("not created", 4) == (before["state"], before["waiting"])
    assert 5 == len(json.loads(gtftctl(records, "create", "--json").stdout)["created"])
    assert "every table is there already" in gtftctl(records, "create").stdout
    assert "every row once more" in gtftctl(records, "status").stdout
    synced = gtftctl(records, "sync")
    assert (0, "") == (synced.returncode, synced.stderr)
    assert "everything anew, 4 changes, 1 commit of Dolt" in synced.stdout
    assert 0 == (await records.projector().sync()).applied
    same = gtftctl(records, "verify", "--json")
    assert (0, True) == (same.returncode, json.loads(same.stdout)["same"])


async def test_verify_ends_with_1_when_somebody_changed_a_row(server: Server, records: Records) -> None:
    """It names the row, and `sync --anew` mends it."""
    await records.create()
    records.one_of_each()
    await records.projector().sync()
    server.run("UPDATE model_registry SET deployment_status = 'active'")
    server.run("INSERT INTO corpus_entries (entry_id) VALUES ('stranger')")
    told = gtftctl(records, "verify")
    assert 1 == told.returncode, told.stderr
    assert "model_registry different: mayor-v1" in told.stdout
    assert "corpus_entries not here: stranger" in told.stdout
    assert 0 == gtftctl(records, "sync", "--anew").returncode
    assert {} == await records.differences()


async def test_without_a_server_the_commands_end_with_1(server: Server, records: Records) -> None:
    """In one line that names the address."""
    server.stop()
    try:
        for command in ("sync", "verify"):
            told = gtftctl(records, command)
            assert (1, 1) == (told.returncode, told.stderr.count("\n")), told.stderr
            assert f"error: hq at 127.0.0.1:{server.port} does not answer" in told.stderr
        told = gtftctl(records, "status")
        assert (1, "") == (told.returncode, told.stderr)
        assert "unreachable" in told.stdout
    finally:
        server.start()
