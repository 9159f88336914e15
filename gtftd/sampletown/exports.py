"""Loads exports of real beads databases into the stand-in's files."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.sampletown.beads import SECONDS, Cell
from gtftd.sampletown.database import create_database, open_database
from gtftd.sampletown.schema import Schema
from gtftd.sampletown.standin import StandIn

_SPACE = uuid.UUID("0f0d3c7e-7f2b-5d1c-9f5e-3c1d5a0e7b11")
_TABLES = ("issues", "events", "dependencies", "labels", "comments", "config", "metadata")


def load_export(standin: StandIn | Path, database: str, folder: Path, schema: Schema | None = None) -> dict[str, int]:
    """Load `<table>.jsonl` files into a database; how many rows each table got.

    Moments become UTC with whole
    seconds. Without `schema` the old one is taken when event ids are integers. Into the new one, integer ids
    become UUIDs that depend on the id alone, so a second load adds nothing.
    """
    root = standin.folder if isinstance(standin, StandIn) else standin
    schema = schema or _schema_of(folder)
    create_database(root, database, schema)
    connection = open_database(root, database)
    counts: dict[str, int] = {}
    try:
        connection.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            if (folder / f"{table}.jsonl").is_file():
                counts[table] = _load_table(connection, table, folder / f"{table}.jsonl", schema)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return counts


def _load_table(connection: sqlite3.Connection, table: str, path: Path, schema: Schema) -> int:
    columns = {row["name"]: row["type"] for row in connection.execute(f"PRAGMA table_info({table})")}
    count = 0
    for raw in _rows(path):
        row = _to_new(table, raw) if schema == "new" else raw
        cells = {name: _cell(value, columns[name]) for name, value in row.items() if name in columns}
        marks = ", ".join("?" for _ in cells)
        names = ", ".join(f"`{name}`" for name in cells)
        connection.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", tuple(cells.values()))
        count += 1
    return count


def _schema_of(folder: Path) -> Schema:
    events = folder / "events.jsonl"
    first = next(_rows(events), {}) if events.is_file() else {}
    return "old" if isinstance(first.get("id"), int) else "new"


def _to_new(table: str, row: dict[str, object]) -> dict[str, object]:
    if table in ("events", "comments") and isinstance(row.get("id"), int):
        return row | {"id": str(uuid.uuid5(_SPACE, f"{table}/{row['id']}"))}
    if table == "dependencies" and "depends_on_id" in row:
        target = str(row["depends_on_id"])
        key = uuid.uuid5(_SPACE, f"{row.get('issue_id')}/{row.get('type')}/{target}")
        if target.startswith("external:"):
            return row | {"id": str(key), "depends_on_external": target}
        return row | {"id": str(key), "depends_on_wisp_id" if "-wisp-" in target else "depends_on_issue_id": target}
    return row


def _cell(value: object, column_type: str) -> Cell:
    """A cell as SQLite keeps it: moments as MySQL prints them, JSON values as their text."""
    if isinstance(value, str) and column_type == "DATETIME":
        moment = datetime.fromisoformat(value)
        return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime(SECONDS)
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value, ensure_ascii=False)


def _rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise Invalid(f"{path}:{number} holds no JSON object; an export has one on each line")
            yield row
