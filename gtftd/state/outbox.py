"""Facts on their way to the bus: committed here first, together with what they follow from."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gtftd.errors import Invalid
from gtftd.schemas.event import MAX_EVENT_BYTES, Envelope, Event
from gtftd.state.database import Database


@dataclass(frozen=True)
class Outgoing:
    """An event with its identity: the same fact always carries the same id."""

    id: str
    event: Event
    time: datetime
    cause: str | None = None
    source: str | None = None
    """Where it comes from, when that is not this daemon."""


@dataclass(frozen=True)
class Row:
    """One fact in the outbox, as it goes out."""

    seq: int
    id: str
    subject: str
    body: bytes
    retries: str | None = None
    """`Retried` as JSON: for that reaction alone. None: for everybody."""


class Encoder:
    """Facts as the outbox keeps them: `(id, subject, body)`."""

    def __init__(self, *, prefix: str, source: str, scrub: Callable[[object], object] = lambda value: value) -> None:
        """`scrub` cleans a JSON value that people or agents wrote; nothing else of an event is text."""
        self._scrub = scrub
        self._prefix = prefix
        self._source = source

    def scrub(self, value: object) -> object:
        """A JSON value of somebody's, without secrets."""
        return self._scrub(value)

    def clean(self, text: str) -> str:
        """Somebody's words, without secrets."""
        return str(self._scrub(text)) if text else ""

    def rows(self, outgoing: Iterable[Outgoing]) -> list[tuple[str, str, bytes]]:
        return [(item.id, self.subject(type(item.event)), self._encode(item)) for item in outgoing]

    def subject(self, event: type[Event]) -> str:
        return f"{self._prefix}.{event.origin}.{event.subject}"

    def _encode(self, item: Outgoing) -> bytes:
        event = item.event
        if event.free_text:
            cleaned = {name: self._scrub(getattr(event, name, "")) for name in event.free_text if hasattr(event, name)}
            event = event.model_copy(update=cleaned)
        envelope = Envelope.wrap(
            event, id=item.id, source=item.source or self._source, time=item.time, cause=item.cause
        )
        body = envelope.encode()
        if len(body) > MAX_EVENT_BYTES:
            raise Invalid(f"{item.event.type_name()} {item.id} has {len(body)} bytes, more than {MAX_EVENT_BYTES}")
        return body


class Outbox(Encoder):
    """Insert in the same transaction as the cursor that a source moves, or the reaction that is done."""

    def __init__(
        self,
        database: Database,
        *,
        prefix: str,
        source: str,
        scrub: Callable[[object], object] = lambda value: value,
    ) -> None:
        super().__init__(prefix=prefix, source=source, scrub=scrub)
        self._database = database
        self.filled = asyncio.Event()
        """Set whenever there may be something to publish."""

    async def put(self, outgoing: Sequence[Outgoing], also: Callable[[sqlite3.Connection], None] | None = None) -> int:
        """Commit the facts and `also` in one transaction; returns how many facts are new to the outbox."""
        return await self.put_encoded(self.rows(outgoing), also)

    async def put_encoded(
        self, rows: Sequence[tuple[str, str, bytes]], also: Callable[[sqlite3.Connection], None] | None = None
    ) -> int:
        """Like `put`, for `(id, subject, body)` that were encoded elsewhere."""

        def work(connection: sqlite3.Connection) -> int:
            if also is not None:
                also(connection)
            return insert_rows(connection, rows)

        added = await self._database.write(work)
        if added:
            self.filled.set()
        return added

    async def head(self, limit: int = 256) -> list[Row]:
        """The oldest facts, in order."""
        sql = "SELECT seq, id, subject, body, retries FROM outbox ORDER BY seq LIMIT ?"
        found = await self._database.read(lambda connection: connection.execute(sql, (limit,)).fetchall())
        return [Row(*row) for row in found]

    async def remove(self, rows: Sequence[Row]) -> None:
        """Forget facts that the bus has acknowledged; a second call is harmless."""
        seqs = [(row.seq,) for row in rows]
        await self._database.write(lambda connection: connection.executemany("DELETE FROM outbox WHERE seq = ?", seqs))

    async def empty(self) -> None:
        """Until the bus has everything."""
        while await self.size():
            self.filled.set()
            await asyncio.sleep(0.05)  # rows also leave by hands that set no event

    async def size(self) -> int:
        return await self._database.read(
            lambda connection: int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])
        )


def insert_rows(connection: sqlite3.Connection, rows: Iterable[tuple[str, str, bytes]]) -> int:
    """Insert what the outbox does not hold yet; returns how many."""
    before = connection.total_changes
    connection.executemany("INSERT OR IGNORE INTO outbox (id, subject, body) VALUES (?, ?, ?)", rows)
    return connection.total_changes - before


def read_cursor(connection: sqlite3.Connection, name: str) -> dict[str, object] | None:
    """Where the source `name` stopped reading; None at its first start."""
    row = connection.execute("SELECT value FROM cursors WHERE name = ?", (name,)).fetchone()
    return None if row is None else json.loads(row[0])


def write_cursor(connection: sqlite3.Connection, name: str, value: dict[str, object]) -> None:
    connection.execute("INSERT OR REPLACE INTO cursors (name, value) VALUES (?, ?)", (name, json.dumps(value)))


def already_told(connection: sqlite3.Connection, source: str, ids: Sequence[str]) -> set[str]:
    """Which of `ids` the source has told before (see `tell`)."""
    known: set[str] = set()
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        marks = ",".join("?" * len(part))
        found = connection.execute(f"SELECT id FROM told WHERE source = ? AND id IN ({marks})", (source, *part))
        known.update(row[0] for row in found)
    return known


def tell(connection: sqlite3.Connection, source: str, ids: Iterable[tuple[str, float]]) -> None:
    """Remember `(id, Unix seconds)` as told."""
    connection.executemany(
        "INSERT OR IGNORE INTO told (source, id, at) VALUES (?, ?, ?)", [(source, id_, at) for id_, at in ids]
    )


def forget_told(connection: sqlite3.Connection, source: str, before: float) -> None:
    connection.execute("DELETE FROM told WHERE source = ? AND at < ?", (source, before))
