"""Reading a town's beads over the MySQL protocol: one connection, read-only, short queries, never DDL."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import aiomysql
import pymysql.err

from gtftd.errors import NotReady, Unreachable
from gtftd.schemas.settings import BeadsSettings
from gtftd.town.bead_rows import Cell, ClosedBead, Dependency, Issue, moment, text
from gtftd.town.bead_snapshot import Head, Page, SchemaUnknown, Snapshot, check_tables

__all__ = ["BeadsReader", "DatabaseMissing", "Head", "Page", "SchemaUnknown", "ServerClock", "Snapshot"]
T = TypeVar("T")
SCHEMA_KEPT_S = 86_400
_NO_DATABASE = {1044, 1049}
_SCHEMA = {1054, 1146}


class DatabaseMissing(NotReady):
    """The server does not have this database, or hides it from us."""


@dataclass(frozen=True)
class ServerClock:
    """The server's wall clock and UTC, both without a zone."""

    local: datetime
    utc: datetime

    @property
    def zone_s(self) -> int:
        """How far local time is ahead of UTC, to the minute."""
        return round((self.local - self.utc).total_seconds() / 60) * 60

    def later(self, seconds: float) -> ServerClock:
        passed = timedelta(seconds=seconds)
        return ServerClock(self.local + passed, self.utc + passed)


class Address(Protocol):
    """Where the server is now; asked at each connect, because ports change."""

    def __call__(self) -> int: ...


class BeadsReader:
    """Holds at most one connection. Callers take turns; a failure closes it and the next call opens a new one.

    Raises Unreachable, DatabaseMissing or SchemaUnknown.
    """

    def __init__(self, settings: BeadsSettings, port: Address) -> None:
        self._settings = settings
        self._port = port
        self._turn = asyncio.Lock()
        self._connection: aiomysql.Connection | None = None
        self._transactions = True
        self._schemas: dict[str, tuple[float, dict[str, frozenset[str]]]] = {}

    async def clock(self) -> ServerClock:
        """The server's clock; also the cheapest proof that the connection lives."""
        async with self._turn:
            rows = await self._query("SELECT CURRENT_TIMESTAMP AS here, UTC_TIMESTAMP AS utc")
        here, utc = moment(rows[0].get("here")), moment(rows[0].get("utc"))
        if here is None or utc is None:
            raise SchemaUnknown(f"the beads server gave no time but {rows[0]!r}; is it a MySQL server?")
        return ServerClock(here.replace(tzinfo=None), utc.replace(tzinfo=None))

    @contextlib.asynccontextmanager
    async def snapshot(self, database: str) -> AsyncIterator[Snapshot]:
        """A view of `database`; its `freeze` makes all reads after it see one state."""
        async with self._turn:
            await self._use(database)
            tables = await self._schema(database)
            view = Snapshot(self._query, self._begin, database, tables)
            try:
                yield view
            except SchemaUnknown:
                self._schemas.pop(database, None)
                raise
            finally:
                if view.frozen and self._connection is not None:
                    await self._query("COMMIT")

    async def issue(self, database: str, bead: str) -> Issue | None:
        async with self.snapshot(database) as view:
            return (await view.issues([bead])).get(bead)

    async def closed_since(self, database: str, after: datetime) -> list[ClosedBead]:
        """What is closed now and was closed at `after` or later, oldest first; wisps too."""
        async with self.snapshot(database) as view:
            return await view.closed_since(after)

    async def dependencies(self, database: str, bead: str) -> list[Dependency]:
        """What `bead` needs or relates to, in the old shape of the table or the new one."""
        async with self.snapshot(database) as view:
            return await view.dependencies(bead)

    async def close(self) -> None:
        """Drop the connection; the reader can be used again."""
        async with self._turn:
            self._drop()

    async def _use(self, database: str) -> None:
        connection = await self._connected()
        await self._guarded(connection.select_db(database), database)

    async def _begin(self) -> bool:
        """False where the server knows no transactions."""
        if self._transactions:
            try:
                await self._query("START TRANSACTION")
            except SchemaUnknown:
                self._transactions = False
        return self._transactions

    async def _connected(self) -> aiomysql.Connection:
        if self._connection is None:
            port = self._port()
            # use_unicode is off because pymysql decodes strictly, and one bad byte must not stop a poll
            opening = aiomysql.connect(
                host=self._settings.host,
                port=port,
                user=self._settings.user,
                password=self._settings.password.get_secret_value(),
                connect_timeout=self._settings.timeout_s,
                autocommit=True,
                charset="utf8mb4",
                use_unicode=False,
            )
            self._connection = await self._guarded(opening, f"{self._settings.host}:{port}")
            with contextlib.suppress(SchemaUnknown):
                await self._query("SET SESSION TRANSACTION READ ONLY")
        return self._connection

    async def _query(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Cell]]:
        connection = await self._connected()
        return await self._guarded(_fetch(connection, sql, values), sql.split(" ", 3)[0])

    async def _guarded(self, work: Awaitable[T], what: str) -> T:
        """Run one exchange; whatever interrupts it makes the connection useless, so it is dropped."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await work
        except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            self._drop()
            raise Unreachable(f"the beads server does not answer ({what}): {error!r}") from error
        except pymysql.err.MySQLError as error:
            raise self._translated(error, what) from error
        except BaseException:
            self._drop()
            raise

    def _translated(self, error: pymysql.err.MySQLError, what: str) -> NotReady | Unreachable:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if code in _NO_DATABASE:
            return DatabaseMissing(f"the beads server has no database {what!r}: {error}")
        if code in _SCHEMA or isinstance(error, pymysql.err.ProgrammingError | pymysql.err.NotSupportedError):
            return SchemaUnknown(f"the beads server does not understand us ({what}): {error}")
        self._drop()
        return Unreachable(f"the beads server refused ({what}): {error}")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _schema(self, database: str) -> dict[str, frozenset[str]]:
        kept = self._schemas.get(database)
        if kept and time.monotonic() - kept[0] < SCHEMA_KEPT_S:
            return kept[1]
        rows = await self._query(
            "SELECT TABLE_NAME AS t, COLUMN_NAME AS c FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = %s",
            (database,),
        )
        columns: dict[str, set[str]] = {}
        for row in rows:
            columns.setdefault(text(row["t"]), set()).add(text(row["c"]).lower())
        tables = {name: frozenset(found) for name, found in columns.items()}
        check_tables(database, tables)
        self._schemas[database] = (time.monotonic(), tables)
        return tables


async def _fetch(connection: aiomysql.Connection, sql: str, values: Sequence[object]) -> list[dict[str, Cell]]:
    async with connection.cursor(aiomysql.DictCursor) as cursor:
        await cursor.execute(sql, values or None)
        rows: list[dict[str, Cell]] = list(await cursor.fetchall())
        return rows
