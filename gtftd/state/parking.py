"""The parked reactions: look, try again, or drop."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gtftd.errors import Invalid, Missing
from gtftd.schemas.event import MAX_EVENT_BYTES
from gtftd.state.database import Database


@dataclass(frozen=True)
class Parked:
    """One reaction that failed for good; `body` is the event as it came off the bus."""

    id: int
    reaction: str
    key: str
    subject: str
    body: bytes
    attempts: int
    error: str
    traceback: str
    parked_at: float


@dataclass(frozen=True)
class Retried:
    """Whose parked message comes again, and under which key it was parked: the key of a message that nobody can
    read is its first place in the stream, which the message that comes again does not have.
    """

    reaction: str
    key: str

    def encode(self) -> str:
        """ASCII on one line, whatever the key is made of."""
        return json.dumps([self.reaction, self.key])


def read_retried(written: str) -> Retried | None:
    """None for what no retry wrote."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return None
    match found:
        case [str(reaction), str(key)]:
            return Retried(reaction, key)
    return None


_COLUMNS = "id, reaction, key, subject, body, attempts, error, traceback, parked_at"


class Parking:
    """What `gtftctl parked` works on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> int:
        return await self._database.read(
            lambda connection: int(connection.execute("SELECT count(*) FROM parked").fetchone()[0])
        )

    async def list(self, reaction: str | None = None, limit: int = 100) -> list[Parked]:
        """The newest first."""
        sql = f"SELECT {_COLUMNS} FROM parked WHERE ? IS NULL OR reaction = ? ORDER BY id DESC LIMIT ?"
        rows = await self._database.read(lambda c: c.execute(sql, (reaction, reaction, limit)).fetchall())
        return [Parked(*row) for row in rows]

    async def show(self, id_: int) -> Parked:
        sql = f"SELECT {_COLUMNS} FROM parked WHERE id = ?"
        row = await self._database.read(lambda c: c.execute(sql, (id_,)).fetchone())
        if row is None:
            raise Missing(f"nothing is parked under {id_}; `gtftctl parked list` shows what is")
        return Parked(*row)

    async def retry(self, ids: Sequence[int] | None, reactions: Collection[str]) -> int:
        """Publish again and forget the failure, in one transaction; None means all. Returns how many.

        The message goes to the one reaction that parked it; `reactions` are those that there are. The message id
        is new, since the bus drops an id that it has seen.
        """

        def work(connection: sqlite3.Connection) -> int:
            rows = _chosen(connection, ids)
            _check(rows, reactions)
            for row in rows:
                connection.execute("DELETE FROM reactions WHERE reaction = ? AND key = ?", (row.reaction, row.key))
                connection.execute(
                    "INSERT OR IGNORE INTO outbox (id, subject, body, retries) VALUES (?, ?, ?, ?)",
                    (f"retry-{row.id}-{row.parked_at}", row.subject, row.body, _retried(row).encode()),
                )
                connection.execute("DELETE FROM parked WHERE id = ?", (row.id,))
            return len(rows)

        return await self._database.write(work)

    async def drop(self, ids: Sequence[int] | None) -> int:
        """Give up for good: the reaction stays parked in the ledger, its bytes are deleted."""

        def work(connection: sqlite3.Connection) -> int:
            rows = _chosen(connection, ids)
            connection.executemany("DELETE FROM parked WHERE id = ?", [(row.id,) for row in rows])
            return len(rows)

        return await self._database.write(work)


def _retried(row: Parked) -> Retried:
    return Retried(row.reaction, row.key)


def _check(rows: Sequence[Parked], reactions: Collection[str]) -> None:
    """Nobody would take what is published for a reaction that is no more, and no server what is too large for it."""
    gone = sorted({row.reaction for row in rows}.difference(reactions))
    if gone:
        raise Invalid(f"no reaction is called {', '.join(gone)} any more; drop what it parked. Nothing was changed")
    large = [str(row.id) for row in rows if len(row.body) > MAX_EVENT_BYTES]
    if large:
        raise Invalid(
            f"{', '.join(large)}: more than {MAX_EVENT_BYTES} bytes are no event; drop it. Nothing was changed"
        )


def _chosen(connection: sqlite3.Connection, ids: Sequence[int] | None) -> list[Parked]:
    rows = [Parked(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM parked ORDER BY id")]
    if ids is None:
        return rows
    unknown = set(ids) - {row.id for row in rows}
    if unknown:
        raise Missing(f"nothing is parked under {', '.join(map(str, sorted(unknown)))}; nothing was changed")
    return [row for row in rows if row.id in set(ids)]
