"""Which entries a snapshot may hold: rigs own their data, and this is the only query that crosses a rig."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from sys import intern

from gtftd.schemas.snapshots import Selection


@dataclass(frozen=True, slots=True)
class Row:
    """What the builder needs to know of an entry before it reads its text."""

    entry_id: str
    sha256: str
    kind: str
    origin: str
    role: str
    rig: str | None
    bead: str | None
    session_id: str | None
    actor: str | None
    agent: str | None
    model: str | None
    task: str
    outcome: str
    confidence: float
    trainable: int
    scrubber: str
    started_at: float | None
    ended_at: float | None
    stored_at: float

    @property
    def at(self) -> float:
        """When the work ended, as well as it is known."""
        return self.ended_at or self.started_at or self.stored_at


@dataclass(frozen=True, slots=True)
class Node:
    """What splits are made of: which work an entry belongs to. Of all rigs, since beads cross them."""

    entry_id: str
    role: str
    rig: str | None
    bead: str | None
    session_id: str | None
    at: float


_NAMES = ", ".join(field.name for field in fields(Row))
_CLEAN = (
    "sha256 NOT IN (SELECT sha256 FROM taints) AND entry_id NOT IN "
    "(SELECT entry_id FROM entry_texts WHERE text_sha256 IN (SELECT sha256 FROM taints))"
)
WORK = ("session", "curated")
"""Kinds of entries that agents can learn from; the rest are documents."""


def selection_of(role: str | None, rig: str | None, sharing: Collection[str]) -> Selection:
    """A rig and those that share; the town's own agents only when asked by role, or when no rig is asked for."""
    rigs = set(sharing) | ({rig} if rig is not None else set())
    return Selection(role=role, rig=rig, rigs=tuple(sorted(rigs)), town_level=rig is None or role is not None)


def may_hold(selection: Selection, row: Row) -> bool:
    """The same rule as the query's, for one row."""
    if selection.role is not None and row.role != selection.role:
        return False
    return selection.town_level if row.rig is None else row.rig in selection.rigs


def select(connection: sqlite3.Connection, selection: Selection) -> list[Row]:
    """By entry id. No entry of a rig that is not in `selection.rigs` is ever among them, and no content that an
    audit is about to replace.
    """
    marks = ", ".join("?" * len(selection.rigs))
    where, values = f"(rig IN ({marks}) OR (rig IS NULL AND ?))", [*selection.rigs, selection.town_level]
    if selection.role is not None:
        where, values = f"{where} AND role = ?", [*values, selection.role]
    where = f"{where} AND {_CLEAN}"
    rows = connection.execute(f"SELECT {_NAMES} FROM entries WHERE {where} ORDER BY entry_id", values)
    return [Row(*row) for row in rows]


def count_entries(connection: sqlite3.Connection) -> int:
    """Of every kind, role and rig."""
    return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


def read_row(connection: sqlite3.Connection, entry_id: str) -> Row | None:
    """The row as it is now."""
    row = connection.execute(f"SELECT {_NAMES} FROM entries WHERE entry_id = ? AND {_CLEAN}", (entry_id,)).fetchone()
    return None if row is None else Row(*row)


def read_nodes(connection: sqlite3.Connection) -> list[Node]:
    """Every entry that agents can learn from, by entry id: no text, and nothing of it leaves the builder."""
    sql = (
        "SELECT entry_id, role, rig, bead, session_id, coalesce(ended_at, started_at, stored_at) FROM entries "
        f"WHERE kind IN {WORK} ORDER BY entry_id"
    )
    return [Node(*row) for row in connection.execute(sql)]


def read_current(connection: sqlite3.Connection) -> set[str]:
    """All current contents."""
    return {row[0] for row in connection.execute("SELECT sha256 FROM entries")}


def read_retired(connection: sqlite3.Connection) -> Mapping[str, Mapping[str, datetime]]:
    """The commands that instructions no longer name, by rig; those under '' hold for all."""
    found: dict[str, dict[str, datetime]] = {}
    for command, rig, since in connection.execute("SELECT command, rig, since FROM retired_commands ORDER BY 1, 2"):
        found.setdefault(rig, {})[command] = datetime.fromtimestamp(since, UTC)
    return found


def read_texts(connection: sqlite3.Connection, entry_id: str | None = None) -> dict[str, list[str]]:
    """The boilerplate that contents refer to, by entry: of all, or of one."""
    where, values = ("WHERE entry_id = ?", [entry_id]) if entry_id is not None else ("", [])
    found: dict[str, list[str]] = {}
    for entry, text in connection.execute(f"SELECT entry_id, text_sha256 FROM entry_texts {where}", values):
        found.setdefault(entry, []).append(intern(text))
    return found
