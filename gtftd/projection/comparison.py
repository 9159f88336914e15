"""Both sides of the projection compared, row by row and page by page, never whole in memory."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from gtftd.errors import Busy
from gtftd.projection.journal import PAGE_ROWS, Journal
from gtftd.projection.server import TownServer
from gtftd.projection.tables import TABLES, Table, read_row
from gtftd.state.database import Database

SHOWN = 20
"""Most keys that are named for each kind of difference."""
_FLUSH = 500
_ATTEMPTS = 5
Row = tuple[str, str]
"""A key and the row's canonical text."""


@dataclass
class Difference:
    """Rows that differ in one way: how many, and the first of them."""

    rows: int = 0
    keys: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        self.rows += 1
        if len(self.keys) < SHOWN:
            self.keys.append(key)


@dataclass
class Compared:
    """One table. What still waits in the journal counts as `waiting`, whatever the server says of it."""

    table: str
    here: int = 0
    there: int = 0
    missing_there: Difference = field(default_factory=Difference)
    missing_here: Difference = field(default_factory=Difference)
    different: Difference = field(default_factory=Difference)
    waiting: int = 0

    @property
    def is_same(self) -> bool:
        return not (self.missing_there.rows or self.missing_here.rows or self.different.rows)


class Comparison:
    """For a program that has the state's reading connection for itself."""

    def __init__(self, database: Database, server: TownServer) -> None:
        self._database = database
        self._server = server
        self._journal = Journal(database)

    async def run(self) -> list[Compared]:
        """Every table, each side as it was at one moment."""
        async with self._frozen() as position:
            return [await self._table(table, position) for table in TABLES]

    @contextlib.asynccontextmanager
    async def _frozen(self) -> AsyncIterator[int]:
        """First here, then there, until the server has not been told more than we see. Gives its position."""
        writer = await self._journal.writer()
        for _ in range(_ATTEMPTS):
            await self._here("BEGIN")
            last = await self._journal.last()  # the read fixes our side
            await self._server.freeze()
            position = await self._server.position(writer) or 0
            if position <= last:
                break
            await self._thaw()
        else:
            raise Busy("the records change too quickly to be compared; try again in a moment")
        try:
            yield position
        finally:
            await self._here("COMMIT")
        await self._server.thaw()

    async def _thaw(self) -> None:
        await self._here("COMMIT")
        await self._server.thaw()

    async def _here(self, sql: str) -> None:
        await self._database.read(lambda connection: connection.execute(sql))

    async def _table(self, table: Table, position: int) -> Compared:
        found = Compared(table.name)
        suspects: dict[str, Difference] = {}
        async for key, here, there in _merged(
            _pages(self._rows_here(table)), _pages(lambda after: self._server.rows(table, after))
        ):
            found.here += here is not None
            found.there += there is not None
            if here == there:
                continue
            kind = found.different if here and there else found.missing_there if here else found.missing_here
            suspects[key] = kind
            if len(suspects) >= _FLUSH:
                await self._judge(table, position, suspects, found)
        await self._judge(table, position, suspects, found)
        return found

    async def _judge(self, table: Table, position: int, suspects: dict[str, Difference], found: Compared) -> None:
        """Rows of which the journal still speaks only wait."""
        sql = (
            "SELECT DISTINCT key FROM records_journal WHERE seq > ? AND table_name = ?"
            " AND key IN (SELECT value FROM json_each(?))"
        )
        values = (position, table.name, json.dumps(list(suspects)))
        rows = await self._database.read(lambda connection: connection.execute(sql, values).fetchall())
        waiting = {key for (key,) in rows}
        for key, kind in suspects.items():
            if key in waiting:
                found.waiting += 1
            else:
                kind.add(key)
        suspects.clear()

    def _rows_here(self, table: Table) -> Callable[[str], Awaitable[list[Row]]]:
        sql = f"SELECT {table.key}, {table.as_json} FROM {table.source} WHERE {table.key} > ?"
        sql += f" ORDER BY {table.key} LIMIT {PAGE_ROWS}"

        def read(connection: sqlite3.Connection, after: str) -> list[Row]:
            found = connection.execute(sql, (after,)).fetchall()
            return [(key, table.canonical(read_row(row))) for key, row in found]

        return lambda after: self._database.read(lambda connection: read(connection, after))


async def _pages(read: Callable[[str], Awaitable[list[Row]]]) -> AsyncIterator[Row]:
    """Rows in order of their keys."""
    last = ""
    while page := await read(last):
        for row in page:
            yield row
        last = page[-1][0]


async def _merged(
    here: AsyncIterator[Row], there: AsyncIterator[Row]
) -> AsyncIterator[tuple[str, str | None, str | None]]:
    """Each key once with its text on both sides, None where it is missing. Both come in order."""
    one, two = await anext(here, None), await anext(there, None)
    while one or two:
        key = min(row[0] for row in (one, two) if row)
        yield key, one[1] if one and one[0] == key else None, two[1] if two and two[0] == key else None
        if one and one[0] == key:
            one = await anext(here, None)
        if two and two[0] == key:
            two = await anext(there, None)
