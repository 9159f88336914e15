"""The stand-in for Dolt answers aiomysql as a MySQL server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomysql
import pytest

from gtftd.errors import Unreachable
from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import create_database
from gtftd.sampletown.exports import load_export
from gtftd.sampletown.standin import StandIn
from gtftd.schemas.settings import BeadsSettings
from gtftd.town.beads import BeadsReader

MOMENT = datetime(2026, 2, 26, 15, 13, 23, tzinfo=UTC)


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    for name in ("hq", "harbor", "lantern"):
        create_database(tmp_path, name)
    with StandIn(tmp_path) as running:
        yield running


@asynccontextmanager
async def connected(standin: StandIn, database: str = "harbor") -> AsyncIterator[aiomysql.DictCursor]:
    connection = await aiomysql.connect(
        host=standin.host, port=standin.port, user="root", password="", db=database, autocommit=True
    )
    try:
        async with connection.cursor(aiomysql.DictCursor) as cursor:
            yield cursor
    finally:
        await connection.ensure_closed()


async def ask(cursor: Any, sql: str, *parameters: object) -> list[dict[str, object]]:
    await cursor.execute(sql, parameters)
    return list(await cursor.fetchall())


async def test_columns_are_found_by_introspection(standin: StandIn) -> None:
    """New and old schema tell themselves apart by their columns and types alone."""
    create_database(standin.folder, "ancient", "old")
    sql = (
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS type FROM INFORMATION_SCHEMA.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    )
    async with connected(standin) as cursor:
        new = {row["name"]: row["type"] for row in await ask(cursor, sql, "harbor", "events")}
        old = {row["name"]: row["type"] for row in await ask(cursor, sql, "ancient", "events")}
        targets = {row["name"] for row in await ask(cursor, sql, "ancient", "dependencies")}
    assert (new["id"], old["id"], new["created_at"]) == ("char", "integer", "datetime")
    assert "depends_on_id" in targets


async def test_events_since_a_moment(standin: StandIn) -> None:
    """Parameters as aiomysql sends them; DATETIME, NULL and unicode come back as what they are."""
    beads = Beads(standin.folder, "harbor", "hb", clock=lambda: MOMENT)
    bead = beads.create("Grüße ☃ 'quoted' \\ %", actor="mayor")
    beads.close(bead, "Fixed: 雨", "mayor")
    beads.label(bead, "gt:bug", "mayor")
    sql = "SELECT * FROM events WHERE created_at >= %s AND issue_id = %s ORDER BY created_at, event_type"
    async with connected(standin) as cursor:
        rows = await ask(cursor, sql, MOMENT.replace(tzinfo=None), bead)
        issue = await ask(
            cursor, "SELECT title, closed_at, due_at FROM issues WHERE title = %s", "Grüße ☃ 'quoted' \\ %"
        )
        later = await ask(cursor, sql, MOMENT.replace(second=24, tzinfo=None), bead)
    assert [row["event_type"] for row in rows] == ["closed", "created", "label_added"]
    assert (MOMENT.replace(tzinfo=None), "Fixed: 雨") == (rows[0]["created_at"], rows[0]["new_value"])
    assert None is rows[2]["old_value"]
    assert [(MOMENT.replace(tzinfo=None), None)] == [(row["closed_at"], row["due_at"]) for row in issue]
    assert later == []


async def test_unions_joins_and_aggregates_keep_their_types(standin: StandIn) -> None:
    beads = Beads(standin.folder, "lantern", "ln", clock=lambda: MOMENT)
    beads.close(beads.create("a", actor="mayor"), "x", "mayor")
    beads.create("w", actor="mayor", wisp=True)
    union = (
        "(SELECT id, issue_id, created_at FROM events WHERE created_at >= %s)"
        " UNION ALL (SELECT id, issue_id, created_at FROM wisp_events) ORDER BY created_at LIMIT 10"
    )
    join = "SELECT i.title, MAX(e.created_at) AS last, COUNT(*) AS n FROM lantern.events e JOIN lantern.issues i"
    async with connected(standin, "lantern") as cursor:
        both = await ask(cursor, union, "2026-01-01 00:00:00")
        joined = await ask(cursor, f"{join} ON i.id = e.issue_id GROUP BY i.title")
        recent = await ask(cursor, "SELECT id FROM issues WHERE created_at > DATE_SUB(NOW(), INTERVAL 1 DAY)")
    assert [MOMENT.replace(tzinfo=None)] * 3 == [row["created_at"] for row in both]
    assert [{"title": "a", "last": MOMENT.replace(tzinfo=None), "n": 2}] == joined
    assert recent == []


async def test_what_clients_ask_of_a_server(standin: StandIn) -> None:
    async with connected(standin, "hq") as cursor:
        await ask(cursor, "USE lantern")
        assert [next(iter(row.values())) for row in await ask(cursor, "SELECT DATABASE()")] == ["lantern"]
        databases = {row["Database"] for row in await ask(cursor, "SHOW DATABASES")}
        tables = {next(iter(row.values())) for row in await ask(cursor, "SHOW TABLES")}
        version = (await ask(cursor, "SELECT @@version AS v"))[0]["v"]
        await ask(cursor, "SET SESSION TRANSACTION READ ONLY")
    assert {"hq", "harbor", "lantern"} <= databases
    assert {"issues", "events", "wisps", "wisp_events", "dependencies"} <= tables
    assert "standin" in str(version)


@pytest.mark.parametrize(
    ("sql", "code"), [("SELECT * FROM nowhere", 1146), ("USE testdb_9", 1049), ("DELETE FROM issues", 1235)]
)
async def test_errors_leave_the_connection_usable(standin: StandIn, sql: str, code: int) -> None:
    async with connected(standin) as cursor:
        with pytest.raises(aiomysql.MySQLError) as raised:
            await ask(cursor, sql)
        assert code == raised.value.args[0]
        assert await ask(cursor, "SELECT id FROM issues") == []


async def test_a_transaction_sees_one_state(standin: StandIn) -> None:
    beads = Beads(standin.folder, "harbor", "hb")
    beads.create("before", actor="mayor")
    async with connected(standin) as cursor:
        await ask(cursor, "START TRANSACTION")
        assert len(await ask(cursor, "SELECT id FROM issues")) == 1
        beads.create("during", actor="mayor")
        assert len(await ask(cursor, "SELECT id FROM events")) == 1
        await ask(cursor, "COMMIT")
        assert len(await ask(cursor, "SELECT id FROM issues")) == 2


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_the_daemons_reader_sees_every_row(standin: StandIn, shared_data: Path, schema: Any) -> None:
    """Page by page through the real history, and what the rows say; the server's clock is UTC."""
    counts = load_export(standin, "gastown", shared_data / "gastown/beads-backup-2026-03", schema)
    reader = BeadsReader(BeadsSettings(), lambda: standin.port)
    assert (await reader.clock()).zone_s == 0
    async with reader.snapshot("gastown") as view:
        newest = await view.newest()
        page = await view.heads(None, 300)
        seen = {head.key for head in page.heads}
        while not page.complete:
            page = await view.heads(page.heads[-1].at, 300)
            seen |= {head.key for head in page.heads}
        changes = await view.changes(page.heads)
    await reader.close()
    assert counts["events"] == len(seen)
    assert len(page.heads) == len(changes)
    assert max(head.at for head in page.heads) == newest


async def test_many_readers_beside_a_writer(standin: StandIn) -> None:
    """Each of eight connections sees only whole beads, and at last all of them."""
    beads = Beads(standin.folder, "harbor", "hb")

    async def count() -> int:
        async with connected(standin) as cursor:
            for _ in range(10):
                sql = "SELECT COUNT(*) AS n FROM issues i LEFT JOIN events e ON e.issue_id = i.id WHERE e.id IS NULL"
                assert await ask(cursor, sql) == [{"n": 0}]
            return int(str((await ask(cursor, "SELECT COUNT(*) AS n FROM issues"))[0]["n"]))

    def write() -> None:
        for number in range(50):
            beads.create(f"bead {number}", actor="mayor")

    await asyncio.gather(asyncio.to_thread(write), *(count() for _ in range(8)))
    assert await count() == 50


async def test_stopping_drops_clients_and_frees_the_port(standin: StandIn) -> None:
    async with connected(standin) as cursor:
        standin.stop()
        with pytest.raises((aiomysql.MySQLError, OSError, RuntimeError)):
            await ask(cursor, "SELECT id FROM issues")
    port = standin.port
    assert port == standin.start()
    with pytest.raises(Unreachable, match=str(port)):
        StandIn(standin.folder, port).start()


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_real_exports_are_served_whole(standin: StandIn, shared_data: Path, schema: Any) -> None:
    """Every row of the export comes back, under either schema, and a second load adds nothing."""
    folder = shared_data / "gastown/beads-backup-2026-03"
    load_export(standin, "gastown", folder, schema)
    load_export(standin, "gastown", folder, schema)
    async with connected(standin, "gastown") as cursor:
        events = await ask(cursor, "SELECT * FROM events ORDER BY created_at, id")
        closed = await ask(cursor, "SELECT id, closed_at FROM issues WHERE status = 'closed'")
    expected = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert len(expected) == len(events)
    assert sorted(str(e["new_value"]) for e in expected) == sorted(str(e["new_value"]) for e in events)
    assert all(isinstance(row["closed_at"], datetime) for row in closed)
    assert (int if schema == "old" else str) is type(events[0]["id"])


async def test_an_export_of_old_ids_is_known_as_old(standin: StandIn, shared_data: Path) -> None:
    load_export(standin.folder, "gastown", shared_data / "gastown/beads-backup-2026-03")
    async with connected(standin, "gastown") as cursor:
        assert len(await ask(cursor, "SELECT depends_on_id FROM dependencies")) == 315
