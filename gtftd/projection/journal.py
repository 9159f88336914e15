"""The local side of the projection: the journal that the triggers fill, and the rows that it speaks of."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gtftd.errors import Corrupt
from gtftd.projection.tables import BY_NAME, TABLES, Cell, Table, read_row
from gtftd.state.database import Database
from gtftd.state.outbox import read_cursor, write_cursor

PAGE_ROWS = 1000
BATCH_BYTES = 4 * 1024**2
"""A batch ends before this, so that no packet of it is larger than a server takes."""
_CURSOR = "records"
_LAST = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'records_journal'), 0)"


@dataclass(frozen=True)
class Change:
    """One line of the journal: the row as it was then, None where it was removed."""

    seq: int
    table: Table
    key: str
    row: Mapping[str, Cell] | None


class Journal:
    """Numbers are given once and without gaps, so a gap after a position says that lines were trimmed untold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def writer(self) -> str:
        """The name of this state directory in the town's `gtftd_position`; made at first use."""

        def work(connection: sqlite3.Connection) -> str:
            known = read_cursor(connection, _CURSOR) or {}
            name = str(known.get("writer") or uuid.uuid4())
            write_cursor(connection, _CURSOR, known | {"writer": name})
            return name

        return str((await self._known()).get("writer") or await self._database.write(work))

    async def was_mirrored(self) -> bool:
        """Whether the town's tables were ever found well from here."""
        return bool((await self._known()).get("mirrored"))

    async def remember_mirrored(self) -> None:
        def work(connection: sqlite3.Connection) -> None:
            write_cursor(connection, _CURSOR, (read_cursor(connection, _CURSOR) or {}) | {"mirrored": True})

        if not await self.was_mirrored():
            await self._database.write(work)

    async def _known(self) -> dict[str, object]:
        return await self._database.read(lambda connection: read_cursor(connection, _CURSOR)) or {}

    async def last(self) -> int:
        """The number that was given last."""
        return await self._number(_LAST)

    async def waiting(self, after: int = 0) -> int:
        return await self._number("SELECT count(*) FROM records_journal WHERE seq > ?", after)

    async def is_whole(self, after: int) -> bool:
        """Whether every change after this number is still here. False too when the state is older than the number."""
        first = await self._number("SELECT coalesce(min(seq), 0) FROM records_journal WHERE seq > ?", after)
        return first == after + 1 if first else await self.last() == after

    async def read(self, after: int, rows: int) -> list[Change]:
        """What follows this number, in order: at most so many lines, and `BATCH_BYTES` of them."""
        sql = "SELECT seq, table_name, key, row FROM records_journal WHERE seq > ? ORDER BY seq LIMIT ?"
        changes: list[Change] = []
        size = 0
        for seq, table, key, row in await self._database.read(lambda c: c.execute(sql, (after, rows)).fetchall()):
            size += len(row or "")
            if changes and size > BATCH_BYTES:
                break
            changes.append(_change(seq, table, key, row))
        return changes

    async def trim(self, upto: int | None = None) -> int:
        """Forget what was told, or everything; in pages, so that no other writer waits long. Returns how many."""
        sql = (
            "DELETE FROM records_journal WHERE seq IN"
            " (SELECT seq FROM records_journal WHERE seq <= ? ORDER BY seq LIMIT ?)"
        )
        limit = await self.last() if upto is None else upto
        gone = 0
        while True:
            page = await self._database.write(lambda c: c.execute(sql, (limit, PAGE_ROWS)).rowcount)
            gone += page
            if page < PAGE_ROWS:
                return gone

    async def refill(self) -> int:
        """Write every row into the journal again; returns the number after which they stand.

        Page by page: what changes meanwhile is written by its trigger, before or after its page, so that the
        last line of each row is the row as it is.
        """
        before = await self.last()
        for table in TABLES:
            last: str | None = ""
            while last is not None:
                last = await self._refill_page(table, last)
        return before

    async def _refill_page(self, table: Table, after: str) -> str | None:
        page = f"SELECT {table.key} AS key, {table.as_json} AS row FROM {table.source} WHERE {table.key} > ?1"
        page += f" ORDER BY {table.key} LIMIT {PAGE_ROWS}"
        sql = f"INSERT INTO records_journal (table_name, key, row) SELECT ?2, key, row FROM ({page}) ORDER BY key"

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(f"SELECT max(key) FROM ({page})", (after,)).fetchone()
            connection.execute(sql, (after, table.name))
            return None if row[0] is None else str(row[0])

        return await self._database.write(work)

    async def tell_gone(self, table: Table, keys: Sequence[str]) -> int:
        """Write a removal for each of these keys that is not here; returns how many."""
        sql = (
            "INSERT INTO records_journal (table_name, key, row) SELECT ?1, value, NULL FROM json_each(?2)"
            f" WHERE NOT EXISTS (SELECT 1 FROM {table.source} WHERE {table.key} = value)"
        )
        return await self._database.write(lambda c: c.execute(sql, (table.name, json.dumps(list(keys)))).rowcount)

    async def _number(self, sql: str, *values: object) -> int:
        return int((await self._database.read(lambda c: c.execute(sql, values).fetchone()))[0])


def _change(seq: int, table: str, key: str, row: str | None) -> Change:
    if table not in BY_NAME:
        raise Corrupt(f"line {seq} of records_journal names the table {table!r}, which this gtftd does not know")
    return Change(seq, BY_NAME[table], key, None if row is None else read_row(row))
