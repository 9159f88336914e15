"""The row of an entry: everything that is known of it without its text, in the table `entries`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from gtftd.schemas.corpus import Entry, EntryKind

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Doubt


@dataclass(frozen=True)
class EntryRow:
    """One entry without its text."""

    entry_id: str
    sha256: str
    kind: EntryKind
    origin: str
    source: str
    role: str
    rig: str | None
    bead: str | None
    episode: int
    session_id: str | None
    actor: str | None
    agent: str | None
    model: str | None
    task: str
    outcome: str
    confidence: float
    failures: str
    violations: int
    messages: int
    trainable: int
    redactions: int
    size_bytes: int
    scrubber: str
    audited: str
    started_at: float | None
    ended_at: float | None
    stored_at: float


_NAMES = tuple(field.name for field in fields(EntryRow))
_COLUMNS = ", ".join(_NAMES)


def select(
    connection: sqlite3.Connection, where: str, values: tuple[object, ...], order: str, limit: int
) -> list[EntryRow]:
    """Rows by a condition in SQL."""
    sql = f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY {order} LIMIT ?"
    return [EntryRow(*row) for row in connection.execute(sql, (*values, limit))]


def row_of(entry: Entry, sha256: str, size_bytes: int, at: float) -> EntryRow:
    """Of an entry that is stored now."""
    return EntryRow(
        entry_id=entry.entry_id,
        sha256=sha256,
        kind=entry.kind,
        origin=entry.origin,
        source=entry.source,
        role=entry.role,
        rig=entry.rig,
        bead=entry.bead,
        episode=entry.episode,
        session_id=entry.session_id,
        actor=entry.actor,
        agent=entry.agent,
        model=entry.model,
        task=entry.task,
        outcome=entry.outcome.label,
        confidence=entry.outcome.confidence,
        failures=",".join(entry.outcome.failures),
        violations=sum(len(message.violations) for message in entry.messages),
        messages=len(entry.messages),
        trainable=sum(message.trainable for message in entry.messages),
        redactions=sum(entry.redactions.values()),
        size_bytes=size_bytes,
        scrubber=entry.scrubber,
        audited=entry.scrubber,
        started_at=entry.started_at.timestamp() if entry.started_at else None,
        ended_at=entry.ended_at.timestamp() if entry.ended_at else None,
        stored_at=at,
    )


def is_welcome(connection: sqlite3.Connection, entry_id: str, instead_of: str | None) -> bool:
    """Nothing that was purged; and, with `instead_of`, only in the place of that content."""
    if connection.execute("SELECT 1 FROM purges WHERE entry_id = ?", (entry_id,)).fetchone():
        return False
    old = find(connection, entry_id)
    return instead_of is None or (old is not None and old.sha256 == instead_of)


def replace_doubts(connection: sqlite3.Connection, entry_id: str, doubts: Sequence[Doubt], at: float) -> None:
    """The open questions of one entry; an old one keeps its time."""
    rows = [(doubt.digest, entry_id, doubt.placeholder, doubt.kind, doubt.rule, doubt.message, at) for doubt in doubts]
    marks = ", ".join("?" * len(doubts))
    sql = f"DELETE FROM doubts WHERE entry_id = ? AND digest NOT IN ({marks})"
    connection.execute(sql, (entry_id, *(doubt.digest for doubt in doubts)))
    connection.executemany("INSERT OR IGNORE INTO doubts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def set_refs(connection: sqlite3.Connection, entry_id: str, refs: Sequence[str]) -> None:
    """The texts, stored once, that the current content refers to."""
    connection.execute("DELETE FROM entry_texts WHERE entry_id = ?", (entry_id,))
    connection.executemany("INSERT INTO entry_texts VALUES (?, ?)", [(entry_id, ref) for ref in refs])


def find(connection: sqlite3.Connection, entry_id: str) -> EntryRow | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE entry_id = ?", (entry_id,)).fetchone()
    return None if row is None else EntryRow(*row)


def replace(connection: sqlite3.Connection, row: EntryRow) -> str | None:
    """Make `row` current; returns the content that was current."""
    old = find(connection, row.entry_id)
    if old is None or old.sha256 != row.sha256:
        marks = ", ".join("?" * len(_NAMES))
        values = tuple(getattr(row, name) for name in _NAMES)
        connection.execute(f"INSERT OR REPLACE INTO entries ({_COLUMNS}) VALUES ({marks})", values)
    return None if old is None else old.sha256
