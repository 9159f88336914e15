"""The beads poller against a real MySQL-protocol server, with small changes of our own and the real exports."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gtftd.errors import NoSpace
from gtftd.schemas.event import event_id
from gtftd.state.outbox import Outbox
from gtftd.town.bead_rows import ClosedBead, Dependency
from gtftd.town.beads import BeadsReader
from tests.support.beads_poller import Place, counted, cursors, make_place, replay, until, until_told
from tests.support.mariadb import (
    BeadsDatabase,
    MariaDb,
    Schema,
    follow_issue,
    issue_rows,
    read_export,
    start_mariadb,
)

pytestmark = pytest.mark.mariadb
AT = datetime(2026, 3, 1, 12, 0, 0)  # noqa: DTZ001  # a DATETIME has no zone
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    started = start_mariadb(tmp_path_factory.mktemp("mariadb"))
    yield started
    started.stop()


@pytest.fixture
async def place(tmp_path: Path, server: MariaDb) -> AsyncIterator[Place]:
    made = make_place(tmp_path, server.port, "hq")
    yield made
    await made.close()


async def test_history_is_not_replayed_and_what_follows_is_told(server: MariaDb, place: Place) -> None:
    """A database seen for the first time starts at its newest row; a bead closed before is known as closed."""
    beads = server.beads("hq")
    beads.close_bead("hq-old", "done long ago", at=AT)
    poller = place.poller()
    assert await poller.poll() == 0
    beads.close_bead("hq-old", "once more", at=AT + SECOND)
    beads.close_bead("hq-new", "Merged in hq-wisp-1", at=AT + SECOND, actor="mayor/")
    beads.close_bead("hq-wisp-1", "merged", at=AT + SECOND, wisp=True)
    await poller.poll()
    closed = {
        (fact["bead"], fact["episode"], fact["reason"], fact["closed_by"]) for fact in await place.told("bead.closed")
    }
    assert {("hq-new", 1, "Merged in hq-wisp-1", "mayor"), ("hq-wisp-1", 1, "merged", "mayor")} == closed
    (again,) = await place.told("bead.updated")
    assert (
        again["bead"],
        again["changes"],
        again["reason"],
        again["episode"],
    ) == ("hq-old", ["close_reason"], "once more", 1)
    (synced,) = await place.told("beads.synced")
    assert (synced["rows"], synced["high_water"]) == (3, "2026-03-01T12:00:01Z")


async def test_a_bead_of_before_that_is_reopened_counts_its_episodes(server: MariaDb, place: Place) -> None:
    """What happened before the first poll decides the episode, though it is never told."""
    beads = server.beads("hq", "old")
    for second in range(2):
        beads.close_bead("hq-a", f"close {second}", at=AT + second * 2 * SECOND)
        beads.reopen("hq-a", at=AT + (second * 2 + 1) * SECOND)
    poller = place.poller()
    await poller.poll()
    beads.close_bead("hq-a", "third", at=AT + 9 * SECOND)
    await poller.poll()
    (closed,) = await place.told("bead.closed")
    assert (3, event_id("bead.closed", "hq", "hq-a", 3)) == (closed["episode"], closed["id"])


async def test_idle_polls_say_nothing(server: MariaDb, place: Place) -> None:
    beads = server.beads("hq")
    poller = place.poller()
    await poller.poll()
    beads.close_bead("hq-a", "done", at=AT)
    await poller.poll()
    before = await place.facts()
    for _ in range(3):
        assert await poller.poll() == 0
    assert before == await place.facts()


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_more_rows_in_one_second_than_a_batch(server: MariaDb, tmp_path: Path, schema: Schema) -> None:
    """A batch is not cut inside a second, and the batches together lose nothing."""
    beads = server.beads("hq", schema)
    place = make_place(tmp_path, server.port, "hq", batch_rows=10)
    poller = place.poller()
    await poller.poll()
    for number in range(37):
        beads.close_bead(f"hq-{number}", "done", at=AT + (number // 25) * SECOND, wisp=number % 3 == 0)
    await poller.poll()
    assert {f"hq-{number}" for number in range(37)} == {fact["bead"] for fact in await place.told("bead.closed")}
    assert len(await place.told("bead.closed")) == 37
    await place.close()


async def test_a_long_past_and_a_row_from_the_future(server: MariaDb, tmp_path: Path) -> None:
    """Warm-up passes more rows in one second than a batch, and a row dated tomorrow does not hide today's."""
    beads = server.beads("hq")
    place = make_place(tmp_path, server.port, "hq", batch_rows=10)
    utc = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    for number in range(25):
        beads.close_bead(f"hq-old{number}", "done", at=utc)
    beads.close_bead("hq-future", "done", at=utc + timedelta(days=1))
    await place.poller().poll()
    beads.close_bead("hq-a", "done", at=utc)
    await place.poller().poll()
    assert [fact["bead"] for fact in await place.told("bead.closed")] == ["hq-a"]
    await place.close()


async def test_any_date_and_any_text(server: MariaDb, place: Place) -> None:
    """Rows from year 1 and year 9999, huge values and broken JSON are told like any other."""
    beads = server.beads("hq")
    poller = place.poller()
    await poller.poll()
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001
    beads.write("hq-first", "closed", at=first, new="[" * 50_000, status="closed", close_reason="x", closed_at=last)
    beads.write("hq-last", "closed", at=last, new="y" * 2_000_000, status="closed", close_reason="short")
    await poller.poll()
    utc = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    beads.write("hq-nul", "closed", at=utc, new="a\x00b\u2028", status="closed")
    await poller.poll()
    reasons = {fact["bead"]: fact["reason"] for fact in await place.told("bead.closed")}
    assert reasons == {"hq-first": "[" * 4000, "hq-last": "short", "hq-nul": "a\x00b\u2028"}


async def test_a_row_that_commits_late_is_still_told(server: MariaDb, place: Place) -> None:
    """Rows turn up behind the newest one when transactions are slow; the overlap catches them, once."""
    beads = server.beads("hq")
    poller = place.poller()
    await poller.poll()
    beads.close_bead("hq-a", "done", at=AT)
    await poller.poll()
    beads.close_bead("hq-late", "done", at=AT - 100 * SECOND)
    await poller.poll()
    await poller.poll()
    assert [fact["bead"] for fact in await place.told("bead.closed")] == ["hq-a", "hq-late"]


async def test_a_failing_outbox_loses_and_doubles_nothing(server: MariaDb, place: Place) -> None:
    """Facts, position and told rows are one transaction: what fails is told by the next poll, once."""

    class FullOutbox(Outbox):
        async def put(self, outgoing: Any, also: Any = None) -> int:
            def fail(connection: sqlite3.Connection) -> None:
                if also is not None:
                    also(connection)
                raise NoSpace("no space left for state.db; free some disk")

            return await super().put(outgoing, fail)

    beads = server.beads("hq")
    await place.poller().poll()
    beads.close_bead("hq-a", "done", at=AT)
    await place.poller(FullOutbox(place.database, prefix="gtftd", source="test")).poll()
    assert (await place.facts(), place.condition("state")) == ([], "disk.full")
    await place.poller().poll()
    assert [fact["bead"] for fact in await place.told("bead.closed")] == ["hq-a"]


async def test_missing_database_and_foreign_schema_are_named_and_heal(server: MariaDb, tmp_path: Path) -> None:
    """One bad database is degraded alone; the others go on, and it heals by itself."""
    good = server.beads("good")
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS absent")
        cursor.execute("CREATE OR REPLACE DATABASE foreign_")
    place = make_place(tmp_path, server.port, "absent", "foreign_", "good", backoff_most_s=0.01)
    poller = place.poller()
    await poller.poll()
    good.close_bead("good-a", "done", at=AT)
    await asyncio.sleep(0.02)
    await poller.poll()
    names = ("dolt", "dolt:absent", "dolt:foreign_", "dolt:good")
    assert [place.condition(name) for name in names] == ["", "dolt.database_missing", "dolt.schema_unknown", ""]
    assert [fact["bead"] for fact in await place.told("bead.closed")] == ["good-a"]
    server.beads("absent")
    server.beads("foreign_", wisps=False)
    await asyncio.sleep(0.02)
    await poller.poll()
    assert [place.condition(name) for name in names] == ["", "", "", ""]
    await place.close()


async def test_columns_that_change_under_us_are_read_anew(server: MariaDb, place: Place) -> None:
    """A migration while we run costs one poll, no fact."""
    beads = server.beads("hq")
    place.settings = place.settings.model_copy(update={"backoff_most_s": 0.001})
    poller = place.poller()
    await poller.poll()
    beads.run("ALTER TABLE issues DROP COLUMN assignee")
    beads.close_bead("hq-a", "done", at=AT)
    await poller.poll()
    assert place.condition("dolt:hq") == "dolt.schema_unknown"
    await asyncio.sleep(0.01)
    await poller.poll()
    assert (place.condition("dolt:hq"), [fact["bead"] for fact in await place.told("bead.closed")]) == ("", ["hq-a"])


async def test_a_database_that_hangs_does_not_stop_the_others(server: MariaDb, tmp_path: Path) -> None:
    """A locked table costs one timeout, by name; the next database is read, and the first heals."""
    stuck, good = server.beads("stuck"), server.beads("good")
    place = make_place(tmp_path, server.port, "stuck", "good", timeout_s=0.3, backoff_most_s=0.01)
    poller = place.poller()
    await poller.poll()
    stuck.close_bead("stuck-a", "done", at=AT)
    good.close_bead("good-a", "done", at=AT)
    stuck.run("LOCK TABLES events WRITE, wisp_events WRITE")
    await poller.poll()
    assert place.condition("dolt:stuck") == "dolt.unreachable"
    assert [fact["bead"] for fact in await place.told("bead.closed")] == ["good-a"]
    stuck.run("UNLOCK TABLES")
    await asyncio.sleep(0.02)
    await poller.poll()
    assert place.condition("dolt:stuck") == ""
    assert [fact["bead"] for fact in await place.told("bead.closed")] == ["good-a", "stuck-a"]
    await place.close()


async def test_a_stopped_server_is_a_condition_that_heals(server: MariaDb, tmp_path: Path) -> None:
    """SIGKILL of the server: degraded by name, and after its return nothing is missing or doubled."""
    beads = server.beads("hq")
    place = make_place(tmp_path, server.port, "hq", backoff_most_s=0.05)
    poller = place.poller()
    task = asyncio.create_task(poller.run())
    await until(lambda: place.condition("dolt:hq") == "" and "beads:hq" in cursors(place))
    beads.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    beads.close_bead("hq-a", "done", at=AT)
    await until_told(place, 1)
    server.stop()
    await until(lambda: place.condition("dolt") == "dolt.unreachable")
    await asyncio.to_thread(server.start)
    beads = BeadsDatabase("hq", "new", server.connect("hq"))
    beads.close_bead("hq-b", "done", at=AT + SECOND)
    await until_told(place, 2)
    assert place.condition("dolt") == ""
    assert [fact["bead"] for fact in await place.told("bead.closed")] == ["hq-a", "hq-b"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await place.close()


async def test_a_wake_up_polls_at_once(server: MariaDb, tmp_path: Path) -> None:
    """Nothing would be read for an hour but for the wake-ups; many of them are one."""
    beads = server.beads("hq")
    place = make_place(tmp_path, server.port, "hq", poll_s=3600)
    poller = place.poller()
    task = asyncio.create_task(poller.run())
    await until(lambda: place.condition("dolt:hq") == "" and "beads:hq" in cursors(place))
    for number in range(3):
        beads.close_bead(f"hq-{number}", "done", at=AT + number * SECOND)
        for _ in range(5):
            poller.wake()
        await until_told(place, number + 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await place.close()


async def test_local_time_of_the_server_is_brought_to_utc(tmp_path: Path) -> None:
    """History rows carry the server's local time, issues UTC: the fact carries UTC, before and after a close."""
    server = start_mariadb(tmp_path, "-08:00")
    try:
        beads = server.beads("hq")
        place = make_place(tmp_path / "state", server.port, "hq")
        poller = place.poller()
        await poller.poll()
        utc = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        beads.write(
            "hq-a", "status_changed", at=utc - timedelta(hours=8), new={"status": "hooked", "assignee": "mayor"}
        )
        beads.write(
            "hq-b", "closed", at=utc - timedelta(hours=8), new="x", status="closed", close_reason="x", closed_at=utc
        )
        await poller.poll()
        ats = {fact["subject"]: fact["at"] for fact in await place.told("bead.assigned", "bead.closed")}
        assert {"bead.assigned": f"{utc.isoformat()}Z", "bead.closed": f"{utc.isoformat()}Z"} == ats
        await place.close()
    finally:
        server.stop()


async def test_the_hour_that_comes_twice_is_told(server: MariaDb, place: Place) -> None:
    """At the end of summer time the server's clock goes back an hour: what is written in it is still news."""
    beads = server.beads("hq")
    beads.run("SET GLOBAL time_zone = '+02:00'")
    try:
        utc = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        first = place.poller()
        await first.poll()
        beads.write("hq-a", "claimed", at=utc + timedelta(hours=2))
        await first.poll()
        beads.run("SET GLOBAL time_zone = '+01:00'")
        second = place.poller()
        await second.poll()
        for number in range(3):
            beads.write(f"hq-{number}", "claimed", at=utc + timedelta(hours=1, seconds=number))
            await second.poll()
    finally:
        beads.run("SET GLOBAL time_zone = '+00:00'")
    expected = [("hq-a", utc), *((f"hq-{number}", utc + number * SECOND) for number in range(3))]
    told = [(fact["bead"], datetime.fromisoformat(fact["at"])) for fact in await place.told("bead.assigned")]
    assert [(bead, at.replace(tzinfo=UTC)) for bead, at in expected] == told


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_the_reader_answers_the_sweep(server: MariaDb, place: Place, schema: Schema) -> None:
    """Closed beads since a moment, one issue, and dependencies in either shape of the table."""
    beads = server.beads("hq", schema)
    beads.close_bead("hq-early", "done", at=AT - SECOND)
    beads.write("hq-a", "closed", at=AT, new="x", status="closed", close_reason="x", closed_at=AT, assignee="mayor/")
    beads.close_bead("hq-wisp-b", "merged", at=AT + SECOND, wisp=True)
    target = "depends_on_id" if schema == "old" else "depends_on_wisp_id"
    beads.insert("dependencies", [{"issue_id": "hq-a", target: "hq-wisp-b", "type": "blocks"}])
    reader = BeadsReader(place.settings, lambda: server.port)
    when = AT.replace(tzinfo=UTC)
    assert [
        ClosedBead("hq", "hq-a", "Title of hq-a", "task", "mayor/", "x", when),
        ClosedBead("hq", "hq-wisp-b", "Title of hq-wisp-b", "task", None, "merged", when + SECOND),
    ] == await reader.closed_since("hq", when)
    found = await reader.issue("hq", "hq-a")
    assert found is not None
    assert (found.status, found.reason) == ("closed", "x")
    assert [None, [Dependency("hq-a", "hq-wisp-b", "blocks")]] == [
        await reader.issue("hq", "' OR 1=1 -- "),
        await reader.dependencies("hq", "hq-a"),
    ]
    await reader.close()


async def test_the_reader_cannot_write(server: MariaDb, place: Place) -> None:
    server.beads("hq")
    reader = BeadsReader(place.settings, lambda: server.port)
    async with reader.snapshot("hq") as view:
        with pytest.raises(Exception, match="READ ONLY"):
            await view._query("INSERT INTO issues (id, title, status, issue_type) VALUES ('x', 'x', 'open', 'task')")
    await reader.close()


# The real exports.


@dataclass(frozen=True)
class Export:
    issues: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def fill(self, beads: BeadsDatabase, *, final: bool) -> None:
        """The issues, as they are in the end or still open."""
        rows = issue_rows(self.issues)
        if not final:
            rows = [{**row, "status": "open", "assignee": None, "close_reason": "", "closed_at": None} for row in rows]
        beads.insert("issues", rows)

    def slices(self, seed: int, count: int) -> list[list[dict[str, Any]]]:
        rows = sorted(self.events, key=lambda row: row["id"])
        cuts = sorted(random.Random(seed).sample(range(1, len(rows)), count - 1))
        return [rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


@pytest.fixture(scope="module")
def export() -> Export:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "gastown" / "beads-backup-2026-03"
    if not folder.is_dir():
        pytest.skip("the real exports are not here")
    return Export(read_export(folder / "issues.jsonl"), read_export(folder / "events.jsonl"))


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_real_rows_in_one_poll(server: MariaDb, place: Place, export: Export, schema: Schema) -> None:
    """Everything in one poll: the counts of the data, and each bead ends as its issue is."""
    beads = server.beads("hq", schema, wisps=schema == "new")
    poller = place.poller()
    await poller.poll()
    export.fill(beads, final=True)
    beads.insert("events", map(beads.event_row, export.events))
    await poller.poll()
    assert replay(export.events) == await counted(place)
    await check_last_closes(place, export)


@pytest.mark.parametrize("schema", ["old", "new"])
@pytest.mark.parametrize("final", [False, True])
async def test_real_rows_slice_by_slice(
    server: MariaDb, place: Place, export: Export, schema: Schema, final: bool
) -> None:
    """Slice after slice, with a restart after each: the same counts, whether issues keep step or run ahead."""
    beads = server.beads("hq", schema)
    await place.poller().poll()
    export.fill(beads, final=final)
    for part in export.slices(seed=7, count=20):
        beads.connection.begin()
        beads.insert("events", map(beads.event_row, part))
        if not final:
            for row in part:
                follow_issue(beads, row, timedelta(hours=8))
        beads.connection.commit()
        poller = place.poller()
        await poller.poll()
        await poller.reader.close()
    assert replay(export.events) == await counted(place)
    await check_last_closes(place, export)


async def test_a_restart_changes_no_fact(server: MariaDb, tmp_path: Path, export: Export) -> None:
    """The same slices told by one poller, and by a new one for each slice: the same facts in the same order."""
    beads = server.beads("hq")
    one, many = (make_place(tmp_path / name, server.port, "hq") for name in ("one", "many"))
    steady = one.poller()
    await steady.poll()
    await many.poller().poll()
    export.fill(beads, final=True)
    for part in export.slices(seed=3, count=15):
        beads.insert("events", map(beads.event_row, part))
        await steady.poll()
        restarted = many.poller()
        await restarted.poll()
        await restarted.reader.close()
    facts = [
        [{**fact, "at": None} if fact["subject"] == "beads.synced" else fact for fact in await place.facts()]
        for place in (one, many)
    ]
    assert facts[0] == facts[1]
    await one.close()
    await many.close()


async def check_last_closes(place: Place, export: Export) -> None:
    """The beads whose last word is a close are those that the export has as closed."""
    last = {fact["bead"]: fact for fact in await place.told("bead.closed", "bead.reopened")}
    touched = {row["issue_id"] for row in export.events}
    closed = {issue["id"] for issue in export.issues if issue["status"] == "closed" and issue["id"] in touched}
    assert closed == {bead for bead, fact in last.items() if fact["subject"] == "bead.closed"}
