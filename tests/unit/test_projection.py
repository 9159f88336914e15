"""What the projection knows of the records, and what it makes of numbers and texts."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from gtftd.errors import Corrupt
from gtftd.projection.comparison import SHOWN, Difference
from gtftd.projection.journal import BATCH_BYTES, PAGE_ROWS, Journal
from gtftd.projection.statements import grouped, removal, replacement
from gtftd.projection.tables import BY_NAME, COLUMNS, STEPS, TABLES, read_row
from tests.support.dolt_records import ENTRY, Records

ENTRIES = BY_NAME["corpus_entries"]
LOCAL = {"model_registry": "models", "dpo_preferences": "preferences", "corpus_entries": "entries"}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path, 1)


def test_the_tables_have_the_columns_that_the_triggers_tell(records: Records) -> None:
    """Insert and update tell the same, and a refill tells what they do, to the letter."""
    records.one_of_each()
    for table in TABLES:
        records.other.execute(f"UPDATE {LOCAL.get(table.name, table.name)} SET {table.key} = {table.key}")
    sql = "SELECT table_name, row FROM records_journal ORDER BY seq"
    told = records.other.execute(sql).fetchall()
    assert [table.name for table in TABLES] * 2 == sorted((name for name, _ in told[:4]), key=_order) + [
        name for name, _ in told[4:]
    ]
    for name, row in told:
        table = BY_NAME[name]
        assert set(table.names) == set(json.loads(row)) == COLUMNS[name]
        (again,) = records.other.execute(f"SELECT {table.as_json} FROM {table.source}").fetchone()
        assert json.loads(row) == json.loads(again)
    records.close()


def test_every_table_is_made_by_the_first_step() -> None:
    """The statements are numbered from 1, and name what they make."""
    assert [1] == [number for number, _ in STEPS]
    assert set(COLUMNS) == set(STEPS[0][1])
    for name, statement in STEPS[0][1].items():
        assert statement.startswith(f"CREATE TABLE `{name}` (")


def test_a_row_reads_the_same_from_both_sides() -> None:
    """Numbers as text, bytes, and digits beyond those that SQLite's JSON gives make no difference."""
    here = {"entry_id": "e", "confidence": 0.3, "messages": 4, "stored_at": 1770000000.12346, "rig": None}
    there = {"entry_id": b"e", "confidence": "0.30000000000000004", "messages": "4", "stored_at": 1770000000.1234600001}
    assert ENTRIES.canonical(here) == ENTRIES.canonical(there)
    assert ENTRIES.canonical(here) != ENTRIES.canonical({**here, "rig": ""})
    assert ENTRIES.canonical(here) != ENTRIES.canonical({**here, "stored_at": 1770000000.1235})


def test_an_infinite_number_is_null() -> None:
    """No column holds one, and one row must not stop all the others."""
    assert {"a": None, "b": None, "c": 1.5} == read_row('{"a": 9e999, "b": -9e999, "c": 1.5}')


async def test_neighbours_share_a_statement_and_stay_in_order(records: Records) -> None:
    """A statement tells one table and one kind of change; nothing overtakes."""
    for name in "abc":
        records.put("entries", entry_id=name, **ENTRY)
    records.other.execute("DELETE FROM entries WHERE entry_id = 'b'")
    records.model(1)
    records.put("entries", entry_id="b", **ENTRY)
    changes = await Journal(records.database).read(0, 100)
    found = [(table.name, gone, [one.key for one in group]) for table, gone, group in grouped(changes)]
    assert [
        ("corpus_entries", False, ["a", "b", "c"]),
        ("corpus_entries", True, ["b"]),
        ("model_registry", False, ["mayor-v1"]),
        ("corpus_entries", False, ["b"]),
    ] == found
    sql, values = replacement(ENTRIES, changes[:3])
    assert (3 * len(ENTRIES.columns), 3 * len(ENTRIES.columns)) == (sql.count("%s"), len(values))
    assert ("DELETE FROM `corpus_entries` WHERE `entry_id` IN (%s)", ["b"]) == removal(ENTRIES, changes[3:4])
    records.close()


async def test_a_batch_ends_before_it_is_too_large_for_a_packet(records: Records) -> None:
    """But one line is always taken, however long."""
    for number in range(3):
        records.put("preferences", **{**_pair(number), "why": "x" * (BATCH_BYTES // 2)})
    records.put("preferences", **{**_pair(9), "why": "x" * (2 * BATCH_BYTES)})
    journal, sizes, position = Journal(records.database), [], 0
    while changes := await journal.read(position, 100):
        sizes.append(len(changes))
        position = changes[-1].seq
    assert [1, 1, 1, 1] == sizes
    records.close()


async def test_a_gap_is_seen(records: Records) -> None:
    """Whole is only a journal whose lines follow the position one by one."""
    journal = Journal(records.database)
    assert await journal.is_whole(0)
    for number in range(5):
        records.put("entries", entry_id=f"e{number}", **ENTRY)
    assert [True, True, False, False] == [await journal.is_whole(after) for after in (0, 5, -1, 6)]
    await journal.trim(2)
    assert [False, True, True] == [await journal.is_whole(after) for after in (1, 2, 4)]
    await journal.trim()
    assert [False, True] == [await journal.is_whole(after) for after in (4, 5)]
    records.close()


async def test_a_refill_tells_every_row_once(records: Records) -> None:
    """Over several pages, models first, and the number before it is where the telling starts."""
    records.other.execute("BEGIN")
    for number in range(PAGE_ROWS + 5):
        records.put("entries", entry_id=f"e{number}", **ENTRY)
    records.model(1)
    records.other.execute("COMMIT")
    journal = Journal(records.database)
    await journal.trim()
    before = await journal.refill()
    keys = [change.key for change in await journal.read(before, 10_000)]
    assert ("mayor-v1", PAGE_ROWS + 6, PAGE_ROWS + 6) == (keys[0], len(keys), len(set(keys)))
    assert PAGE_ROWS + 6 == before
    assert 1 == await journal.tell_gone(ENTRIES, ["e1", "stranger"])
    records.close()


async def test_a_line_of_an_unknown_table_is_told_by_name(records: Records) -> None:
    """It comes from a newer gtftd, and is not passed over in silence."""
    records.put("records_journal", table_name="prices", key="k")
    with pytest.raises(Corrupt, match="'prices'"):
        await Journal(records.database).read(0, 10)
    records.close()


async def test_the_writer_is_named_once(records: Records) -> None:
    """The name stays over a restart, and another state directory has another."""
    first = await Journal(records.database).writer()
    await Journal(records.database).remember_mirrored()
    assert first == await Journal(records.database).writer()
    other = Records(records.folder / "other", 1)
    assert first != await Journal(other.database).writer()
    records.close()
    other.close()


def test_a_difference_names_only_the_first_keys() -> None:
    """All are counted."""
    difference = Difference()
    for number in range(SHOWN + 5):
        difference.add(str(number))
    assert (SHOWN + 5, SHOWN) == (difference.rows, len(difference.keys))


def test_sqlite_orders_keys_as_python_does() -> None:
    """Both sides of a comparison come in this order, and so does utf8mb4_bin."""
    keys = ["b", "B", "a", "ä", "z", "🦀", "\uffee", "a0", "a-"]
    connection = sqlite3.connect(":memory:")
    found = [key for (key,) in connection.execute("SELECT value FROM json_each(?) ORDER BY value", (json.dumps(keys),))]
    connection.close()
    assert sorted(keys) == found


def _order(name: str) -> int:
    return [table.name for table in TABLES].index(name)


def _pair(number: int) -> dict[str, object]:
    return {
        "id": f"p{number}", "kind": "k", "role": "r", "snapshot": "s", "chosen_sha256": "c", "rejected_sha256": "r",
        "weight": 1.0, "created_at": 1.0,
    }  # fmt: skip
