"""The records in the town's database: one contract, held by every server that they may be mirrored into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gtftd.errors import Busy, Unreachable
from gtftd.projection import TablesDiffer, TablesMissing, connect, find_address
from tests.support.dolt import OURS, Server, start_server
from tests.support.dolt_child import BATCH, killed_at
from tests.support.dolt_records import ENTRY, JOB, Records

pytestmark = pytest.mark.mariadb
STATES = ("gated", "canary", "active", "degraded", "active", "archived")
LATER = ("projection.applied", "projection.committed", "projection.trimmed")
POINTS = ("projection.refilled", "projection.told", *LATER)


@pytest.fixture(scope="module", params=["mariadb", "mimic", "dolt"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start_server(request.param, tmp_path_factory.mktemp(request.param))
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


def models(server: Server) -> list[tuple[str, str]]:
    sql = "SELECT name, deployment_status FROM model_registry ORDER BY name"
    return [(row["name"], row["deployment_status"]) for row in server.run(sql)]


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


async def test_create_makes_the_tables_once(server: Server, records: Records) -> None:
    """A second time changes nothing and is no error."""
    assert sorted(OURS) == await records.create()
    assert [] == await records.create()
    assert server.messages() == (["gtftd: tables of the records, version 1"] if server.commits else [])


async def test_every_table_is_mirrored_as_it_is(server: Server, records: Records) -> None:
    """Rows from before the tables were made, and rows after; umlauts, quotes, percent signs and numbers survive."""
    records.one_of_each(1)
    await records.create()
    first = await records.projector().sync()
    assert (True, 4, 0) == (first.refilled, first.applied, records.waiting())
    records.one_of_each(2)
    second = await records.projector().sync()
    assert (False, 4, 0) == (second.refilled, second.applied, records.waiting())
    assert {} == await records.differences()
    (job,) = server.run("SELECT note, created_at, model, ended_at FROM training_jobs WHERE id = 'job-2'")
    assert (JOB["note"], "mayor-v2", None) == (job["note"], job["model"], job["ended_at"])
    assert JOB["created_at"] == pytest.approx(float(job["created_at"]), abs=1e-4)
    assert {row["entry_id"] for row in server.run("SELECT entry_id FROM corpus_entries")} == {"entry-1", "entry-2"}


async def test_updates_and_removals_follow(server: Server, records: Records) -> None:
    """The last state of each row stands; what was removed is gone, and what came back is there."""
    await records.create()
    records.one_of_each(1)
    records.one_of_each(2)
    records.other.execute("UPDATE models SET status = 'gated'")
    records.other.execute("DELETE FROM entries WHERE entry_id = 'entry-1'")
    await records.projector().sync()
    records.put("entries", entry_id="entry-1", **{**ENTRY, "outcome": "rejected"})
    records.other.execute("DELETE FROM entries WHERE entry_id = 'entry-2'")
    records.other.execute("UPDATE models SET status = 'active' WHERE name = 'mayor-v2'")
    await records.projector().sync()
    assert [("mayor-v1", "gated"), ("mayor-v2", "active")] == models(server)
    assert [("entry-1", "rejected")] == [
        (row["entry_id"], row["outcome"]) for row in server.run("SELECT entry_id, outcome FROM corpus_entries")
    ]
    assert {} == await records.differences()


async def test_ids_that_differ_by_case_are_two(server: Server, records: Records) -> None:
    """As in SQLite."""
    await records.create()
    for name in ("Entry", "entry", "ENTRY"):
        records.put("entries", entry_id=name, **ENTRY)
    await records.projector().sync()
    assert 3 == len(server.run("SELECT entry_id FROM corpus_entries"))
    assert {} == await records.differences()


async def test_a_round_without_news_changes_nothing(server: Server, records: Records) -> None:
    """No rows, no commit."""
    await records.create()
    records.one_of_each()
    await records.projector().sync()
    before = server.messages()
    again = await records.projector().sync()
    assert (0, 0, False) == (again.applied, again.commits, again.refilled)
    assert before == server.messages()


async def test_each_batch_is_one_commit_of_our_tables_alone(server: Server, records: Records) -> None:
    """The working set of others is left to them."""
    await records.create()
    server.run("CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY)")
    await records.projector().sync()
    for number in range(1, 6):
        records.one_of_each(number)
    records.changes = {"batch_rows": 8}
    done = await records.projector().sync()
    assert (20, 3 if server.commits else 0) == (done.applied, done.commits)
    if server.commits:
        first = done.position - 20
        assert [f"gtftd: records up to {first + told}" for told in (8, 16, 20)] == server.messages()[-3:]
        assert set() == server.uncommitted()


async def test_an_outage_is_replayed_in_order(server: Server, records: Records) -> None:
    """2,000 changes while the server is away, one model through six states: each state is told, in its order."""
    await records.create()
    records.model(1)
    await records.projector().sync()
    server.audit()
    server.stop()
    try:
        running = asyncio.create_task(records.projector().run())
        records.other.execute("BEGIN")
        for number in range(1994):
            records.put("entries", entry_id=f"e{number:05}", **ENTRY)
            if number % 332 == 100:
                records.other.execute("UPDATE models SET status = ?", (STATES[number // 332],))
        records.other.execute("COMMIT")
        await eventually(lambda: records.condition() == ("degraded", "records.unreachable"))
        assert 2000 == records.waiting()
    finally:
        server.start()
    await eventually(lambda: records.waiting() == 0 and records.condition() == ("ok", ""))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    audited = [row["status"] for row in server.run("SELECT status FROM audit ORDER BY seq")]
    assert list(STATES) == audited
    assert {} == await records.differences()
    assert set() == server.uncommitted()


async def test_a_stopped_server_is_told_of_by_name(server: Server, records: Records) -> None:
    """And nothing here waits for it."""
    server.stop()
    try:
        with pytest.raises(Unreachable, match=f"hq at 127.0.0.1:{server.port}"):
            await records.projector().sync()
    finally:
        server.start()


@pytest.mark.parametrize("point", [*POINTS, *(pytest.param(f"{point}:3", marks=pytest.mark.heavy) for point in LATER)])
async def test_killed_anywhere_the_next_round_converges(server: Server, records: Records, point: str) -> None:
    """Each state was told once and in order, and all of it is committed."""
    await records.create()
    server.audit()
    records.model(1)
    for number in range(2 * BATCH):
        records.put("entries", entry_id=f"e{number}", **ENTRY)
    if "refilled" not in point:
        await records.projector().sync()
    for state in STATES:
        for number in range(BATCH):
            records.other.execute("UPDATE entries SET messages = messages + 1 WHERE entry_id = ?", (f"e{number}",))
        records.other.execute("UPDATE models SET status = ?", (state,))
    assert killed_at(point, records.state, server.port)
    await records.projector().sync()
    assert 0 == records.waiting()
    told = [row["status"] for row in server.run("SELECT status FROM audit ORDER BY seq")]
    assert told == (["archived"] if "refilled" in point else ["registered", *STATES])
    assert {} == await records.differences()
    assert set() == server.uncommitted()


async def test_a_change_by_hand_is_found(server: Server, records: Records) -> None:
    """Rows that are missing on either side, rows that differ, and rows that only wait."""
    await records.create()
    for number in range(1, 5):
        records.one_of_each(number)
    await records.projector().sync()
    server.run("UPDATE model_registry SET deployment_status = 'active' WHERE name = 'mayor-v3'")
    server.run("DELETE FROM corpus_entries WHERE entry_id = 'entry-2'")
    server.run("INSERT INTO dpo_preferences (id) VALUES ('stranger')")
    records.other.execute("UPDATE training_jobs SET state = 'done' WHERE id = 'job-1'")
    records.put("entries", entry_id="entry-5", **ENTRY)
    assert {
        "model_registry": ([], [], ["mayor-v3"], 0),
        "training_jobs": ([], [], [], 1),
        "dpo_preferences": ([], ["stranger"], [], 0),
        "corpus_entries": (["entry-2"], [], [], 1),
    } == await records.differences()
    done = await records.projector().sync(anew=True)
    assert done.refilled
    assert {} == await records.differences()


@pytest.mark.heavy
async def test_many_rows_are_mirrored_and_compared_page_by_page(server: Server, records: Records) -> None:
    """20,000 entries; the one that differs in each way is found among them."""
    await records.create()
    records.other.execute("BEGIN")
    for number in range(20_000):
        records.put("entries", entry_id=f"e{number:06}", **ENTRY)
    records.other.execute("COMMIT")
    assert 20_000 == (await records.projector().sync()).applied
    server.run("UPDATE corpus_entries SET outcome = 'failed' WHERE entry_id = 'e012345'")
    server.run("DELETE FROM corpus_entries WHERE entry_id = 'e000999'")
    server.run("INSERT INTO corpus_entries (entry_id) VALUES ('e019999x')")
    assert {"corpus_entries": (["e000999"], ["e019999x"], ["e012345"], 0)} == await records.differences()


@pytest.mark.heavy
async def test_a_server_that_is_killed_again_and_again_ends_with_everything(server: Server, records: Records) -> None:
    """Killed in the midst of batches, some of which it forgets: the gap is seen, and both sides are the same."""
    records.changes = {"batch_rows": 5}
    await records.create()
    running = asyncio.create_task(records.projector().run())
    try:
        for number in range(1, 301):
            records.one_of_each(number)
            records.other.execute("UPDATE entries SET outcome = ? WHERE entry_id > ?", (str(number), f"entry-{number}"))
            records.other.execute("DELETE FROM preferences WHERE id = ?", (f"pair-{number - 7}",))
            if number % 60 == 0:
                server.stop()
                await asyncio.sleep(0.1)
                server.start()
            await asyncio.sleep(0.005)
        await eventually(lambda: records.waiting() == 0 and records.condition() == ("ok", ""))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await records.projector().sync()
    assert {} == await records.differences()
    assert set() == server.uncommitted()


async def test_two_state_directories_keep_two_positions(server: Server, records: Records, tmp_path: Path) -> None:
    """Neither takes the other's numbers for its own, nor the other's rows away."""
    await records.create()
    other = Records(tmp_path / "other", server.port)
    try:
        records.model(1)
        other.model(2)
        await records.projector().sync()
        await other.projector().sync()
        other.other.execute("UPDATE models SET status = 'held'")
        await other.projector().sync()
        records.other.execute("DELETE FROM records_journal")
        records.other.execute("UPDATE models SET status = 'gated'")
        await records.projector().sync()
        assert [("mayor-v1", "gated"), ("mayor-v2", "held")] == models(server)
        assert 3 == len(server.run("SELECT writer FROM gtftd_position"))
    finally:
        other.close()


async def test_one_at_a_time(server: Server, records: Records) -> None:
    """While another process is at it, a round is refused, and the next one goes on."""
    await records.create()
    records.model(1)
    async with connect(find_address(records.settings, records.town)) as first, first.turn():
        with pytest.raises(Busy, match="another gtftd"):
            await records.projector().sync()
    assert 1 == (await records.projector().sync()).applied


async def test_another_with_the_same_position_applies_nothing_twice(server: Server, records: Records) -> None:
    """Where a server has no locks, the position read inside the transaction decides."""
    await records.create()
    records.model(1)
    projector = records.projector()
    position = (await projector.sync()).position
    records.other.execute("UPDATE models SET status = 'gated'")
    writer, changes = await projector.journal.writer(), await projector.journal.read(position, 10)
    async with connect(find_address(records.settings, records.town)) as late:
        assert await late.apply(writer, position, changes)
        assert not await late.apply(writer, position, changes)
    assert (0, False) == ((done := await projector.sync()).applied, done.refilled)
    assert [("mayor-v1", "gated")] == models(server)
    assert (0, {}) == (records.waiting(), await records.differences())


async def test_a_gap_is_healed_by_telling_everything(server: Server, records: Records) -> None:
    """Lines trimmed untold, a server restored from a backup, a state restored from one: all converge."""
    await records.create()
    for number in range(1, 4):
        records.one_of_each(number)
    await records.projector().sync()
    records.other.execute("DELETE FROM entries WHERE entry_id = 'entry-2'")
    records.other.execute("UPDATE models SET status = 'gated'")
    records.other.execute("DELETE FROM records_journal")
    assert (await records.projector().sync()).refilled
    assert {} == await records.differences()
    server.run("UPDATE gtftd_position SET seq = 2 WHERE writer <> 'tables'")
    assert (await records.projector().sync()).refilled
    server.run("UPDATE gtftd_position SET seq = 1000000 WHERE writer <> 'tables'")
    records.other.execute("UPDATE models SET status = 'held'")
    assert (await records.projector().sync()).refilled
    assert {} == await records.differences()
    assert not (await records.projector().sync()).refilled


async def test_tables_that_are_not_ours_are_refused_by_name(server: Server, records: Records) -> None:
    """Nothing is made beside them, and the message says what to do."""
    server.run("CREATE TABLE training_jobs (id VARCHAR(20) PRIMARY KEY, wages DOUBLE)")
    with pytest.raises(TablesDiffer, match=r"training_jobs that is not ours.*has wages besides.*Rename it"):
        await records.create()
    with pytest.raises(TablesDiffer):
        await records.projector().sync()
    assert ["training_jobs"] == [row["t"] for row in server.run(_TABLES)]


async def test_a_missing_table_is_made_and_filled_again(server: Server, records: Records) -> None:
    """The round says which one; after `create` everything is there."""
    await records.create()
    records.one_of_each()
    await records.projector().sync()
    server.run("DROP TABLE model_registry")
    with pytest.raises(TablesMissing, match=r"has not model_registry.*records create"):
        await records.projector().sync()
    assert ["model_registry"] == await records.create()
    await records.projector().sync()
    assert {} == await records.differences()


async def test_tables_of_a_newer_gtftd_are_refused(server: Server, records: Records) -> None:
    """They may mean something else."""
    await records.create()
    server.run("UPDATE gtftd_position SET seq = 99 WHERE writer = 'tables'")
    with pytest.raises(TablesDiffer, match="newer gtftd"):
        await records.projector().sync()
    with pytest.raises(TablesDiffer, match="newer gtftd"):
        await records.create()


_TABLES = "SELECT TABLE_NAME AS t FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'hq' ORDER BY TABLE_NAME"
