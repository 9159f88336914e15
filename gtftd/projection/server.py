"""The town's server over the MySQL protocol, as the projection writes to it: one connection for one round."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

import aiomysql
import pymysql.err

from gtftd.errors import Busy, Corrupt, GtftdError, NotReady, Refused, Unreachable
from gtftd.projection.address import Address, TablesDiffer, TablesMissing, check_columns
from gtftd.projection.journal import PAGE_ROWS, Change
from gtftd.projection.statements import grouped, removal, replacement, replacing
from gtftd.projection.tables import COLUMNS, POSITION, STEPS, VERSION, VERSION_ROW, Cell, Table
from gtftd.state.crash import crash_point

T = TypeVar("T")
LOCK = "gtftd-records"
LOCK_WAIT_S = 1
"""A client that was killed a moment ago may still hold it."""
AUTHOR = "gtftd <gtftd@localhost>"
_ROUTINE_MISSING = {1305, 1128, 1370}
"""No such procedure or function; 1370 is how MySQL says it to users with few rights."""
_AWAY = {1040, 1053, 1927, 2002, 2003, 2006, 2013}
_LATER = {1205, 1213, 3572}


class _RoutineMissing(NotReady):
    """The server does not know this procedure or function."""


@contextlib.asynccontextmanager
async def connect(address: Address) -> AsyncIterator[TownServer]:
    """Raises Unreachable, Refused, or TablesMissing where the database is not there."""
    server = TownServer(address)
    try:
        await server.open()
        yield server
    finally:
        server.close()


class TownServer:
    """One connection. An error leaves it unusable, and the server rolls back what was open."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.is_dolt = True
        """Until the server says that it knows no DOLT_ADD."""
        self._connection: aiomysql.Connection | None = None

    async def open(self) -> None:
        at = self.address
        # use_unicode is off because pymysql decodes strictly, and one bad byte must not stop a round
        opening = aiomysql.connect(
            host=at.host, port=at.port, user=at.user, password=at.password.get_secret_value(), db=at.database,
            connect_timeout=at.timeout_s, autocommit=True, charset="utf8mb4", use_unicode=False,
        )  # fmt: skip
        self._connection = await self._guarded(opening, "connect")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One at a time, where the server has locks by name. Raises Busy when another gtftd is at it."""
        held = await self._lock()
        yield  # an error closes the connection, and that ends the lock
        if held:
            await self._run("SELECT RELEASE_LOCK(%s) AS released", (LOCK,))

    async def _lock(self) -> bool:
        try:
            rows = await self._run("SELECT GET_LOCK(%s, %s) AS held", (LOCK, LOCK_WAIT_S))
        except (_RoutineMissing, Refused):  # the position that is read inside the transaction guards as well
            return False
        if not int(rows[0]["held"] or 0):
            raise Busy(f"another gtftd writes the records into {self.address}; try again in a moment")
        return True

    async def find_tables(self) -> dict[str, frozenset[str]]:
        """Those of our names, with their columns."""
        marks = ", ".join(["%s"] * len(COLUMNS))
        sql = "SELECT TABLE_NAME AS t, COLUMN_NAME AS c FROM INFORMATION_SCHEMA.COLUMNS"
        rows = await self._run(
            f"{sql} WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN ({marks})", (self.address.database, *COLUMNS)
        )
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(_text(row["t"]), set()).add(_text(row["c"]))
        return {name: frozenset(columns) for name, columns in found.items()}

    async def check_tables(self) -> None:
        """Raises TablesMissing or TablesDiffer, by name and with what to do."""
        found = await self.find_tables()
        check_columns(found, self.address)
        if missing := sorted(set(COLUMNS) - set(found)):
            what = "the records' tables" if not found else ", ".join(missing)
            raise TablesMissing(
                f"{self.address} has not {what}; `gtftctl records create` makes what is missing", none=not found
            )
        version = await self.position(VERSION_ROW)
        version = VERSION if version is None else version  # the columns are right, only the note of it is lost
        self._check_newer(version)
        if version < VERSION:
            raise TablesMissing(
                f"the records' tables in {self.address} are of an older gtftd; `gtftctl records create` changes them",
                none=False,
            )

    async def create(self) -> list[str]:
        """Make what is missing; returns the tables that are new. A second call changes nothing."""
        before = await self.find_tables()
        check_columns(before, self.address)
        known = (await self.position(VERSION_ROW) or 0) if POSITION in before else 0
        self._check_newer(known)
        made = [name for name in COLUMNS if name not in before]
        if made and POSITION in before:  # whoever was told to have told everything begins anew
            await self._run(f"UPDATE {POSITION} SET seq = -1 WHERE writer <> %s", (VERSION_ROW,))
        for number, statements in STEPS:
            for name, statement in statements.items():
                if number > known or name in made:
                    await self._run(statement)
        if known < VERSION:
            await self.put_position(VERSION_ROW, VERSION)
        await self.dolt_commit(f"gtftd: tables of the records, version {VERSION}")
        return sorted(made)

    def _check_newer(self, version: int) -> None:
        if version > VERSION:
            raise TablesDiffer(f"the records' tables in {self.address} were made by a newer gtftd; run that one")

    async def position(self, writer: str) -> int | None:
        rows = await self._run(f"SELECT seq FROM {POSITION} WHERE writer = %s", (writer,))
        return int(rows[0]["seq"] or 0) if rows else None

    async def positions(self) -> dict[str, int]:
        """Of every writer."""
        rows = await self._run(f"SELECT writer, seq FROM {POSITION}")
        return {_text(row["writer"]): int(row["seq"] or 0) for row in rows if _text(row["writer"]) != VERSION_ROW}

    async def put_position(self, writer: str, seq: int) -> None:
        await self._run(replacing(POSITION, ("writer", "seq"), 1), (writer, seq))

    async def apply(self, writer: str, expected: int, changes: Sequence[Change]) -> bool:
        """All of them in order, and the new position, in one transaction. False when another was quicker."""
        await self._run("START TRANSACTION")
        rows = await self._run(f"SELECT seq FROM {POSITION} WHERE writer = %s FOR UPDATE", (writer,))
        if not rows or int(rows[0]["seq"] or 0) != expected:
            await self._run("ROLLBACK")
            return False
        for table, is_removal, group in grouped(changes):
            sql, values = removal(table, group) if is_removal else replacement(table, group)
            await self._run(sql, values)
        await self.put_position(writer, changes[-1].seq)
        crash_point("projection.told")
        await self._run("COMMIT")
        return True

    async def dolt_commit(self, message: str) -> bool:
        """Commit our own tables as they are on the server; gt and bd keep theirs. False: nothing new, or no Dolt."""
        if not self.is_dolt:
            return False
        try:
            await self._run(f"CALL DOLT_ADD({', '.join(['%s'] * len(COLUMNS))})", tuple(COLUMNS))
            await self._run("CALL DOLT_COMMIT('-m', %s, '--author', %s)", (message, AUTHOR))
        except _RoutineMissing:
            self.is_dolt = False
            return False
        except Refused as error:
            if "nothing to commit" not in str(error):
                raise
            return False
        return True

    async def keys(self, table: Table, after: str) -> list[str]:
        """A page of the keys that the server holds, in order."""
        sql = f"SELECT `{table.key}` FROM `{table.name}` WHERE `{table.key}` > %s ORDER BY `{table.key}` LIMIT %s"
        return self._beyond(after, [_text(row[table.key]) for row in await self._run(sql, (after, PAGE_ROWS))])

    async def rows(self, table: Table, after: str) -> list[tuple[str, str]]:
        """A page of keys with the canonical texts of their rows, in order."""
        names = ", ".join(f"`{name}`" for name in table.names)
        sql = f"SELECT {names} FROM `{table.name}` WHERE `{table.key}` > %s ORDER BY `{table.key}` LIMIT %s"
        found = await self._run(sql, (after, PAGE_ROWS))
        keys = self._beyond(after, [_text(row[table.key]) for row in found])
        return [(key, table.canonical(row)) for key, row in zip(keys, found, strict=True)]

    def _beyond(self, after: str, keys: list[str]) -> list[str]:
        """Raises Corrupt for a page that would come for ever: keys that are no text, or another collation."""
        if keys and not after < keys[-1]:
            raise Corrupt(f"{self.address} does not give its keys in order: {keys[-1]!r} after {after!r}")
        return keys

    async def freeze(self) -> None:
        """From the next read on, everything is read as it was then."""
        await self._run("START TRANSACTION")

    async def thaw(self) -> None:
        await self._run("COMMIT")

    async def _run(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Cell]]:
        if self._connection is None:
            raise Unreachable(f"the connection to {self.address} is closed")
        return await self._guarded(_fetch(self._connection, sql, values), sql.split("(", 1)[0][:40])

    async def _guarded(self, work: Awaitable[T], what: str) -> T:
        try:
            async with asyncio.timeout(self.address.timeout_s):
                return await work
        except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            self.close()
            raise Unreachable(f"{self.address} does not answer ({what}): {error!r}") from error
        except pymysql.err.MySQLError as error:
            raise _translated(error, what, self.address) from error
        except (ValueError, IndexError, AssertionError, struct.error) as error:
            self.close()
            raise Unreachable(f"what {self.address} says is not MySQL ({what}): {error!r}") from error


async def _fetch(connection: aiomysql.Connection, sql: str, values: Sequence[object]) -> list[dict[str, Cell]]:
    async with connection.cursor(aiomysql.DictCursor) as cursor:
        await cursor.execute(sql, values or None)
        rows: list[dict[str, Cell]] = list(await cursor.fetchall())
        return rows


def _translated(error: pymysql.err.MySQLError, what: str, address: Address) -> GtftdError:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if code in _ROUTINE_MISSING:
        return _RoutineMissing(f"{address} does not know {what}: {error}")
    if code in {1044, 1049}:
        return TablesMissing(f"{address}: there is no such database, or not for this user: {error}", none=True)
    if code in {1054, 1146}:
        return TablesMissing(f"{address}: {error}; `gtftctl records create` makes what is missing", none=False)
    if code in _LATER:
        return Busy(f"{address} is busy ({what}): {error}")
    if code in _AWAY or isinstance(error, pymysql.err.InterfaceError):
        return Unreachable(f"{address} does not answer ({what}): {error}")
    return Refused(f"{address} refused ({what}): {error}")


def _text(value: Cell) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
