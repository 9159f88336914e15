"""A stand-in for Dolt: beads databases in SQLite, read over the MySQL protocol. It is not Dolt.

It serves SELECT, USE, SHOW and INFORMATION_SCHEMA, takes any user without a password, and refuses
to write. No branches, no history, no `dolt_*` functions: a client that needs those must not pass here.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from mysql_mimic import AllowedResult, MysqlServer, ResultSet, Session
from mysql_mimic.errors import ErrorCode, MysqlError
from mysql_mimic.schema import InfoSchema
from mysql_mimic.session import Query
from sqlglot import expressions as exp

from gtftd.errors import Unreachable
from gtftd.logs import get_logger
from gtftd.sampletown import dialect
from gtftd.sampletown.database import attach_new, list_databases, open_all

VERSION = "8.0.33-gtftd-standin"
START_S = 10.0
UNKNOWN_DATABASE = 1049
NO_SUCH_TABLE = 1146
log = get_logger("sampletown")


class StandIn:
    """The server in a thread with a loop of its own; `folder` holds one SQLite file a database.

    `start` returns the port; `stop` may be called twice. Stopping drops the clients, as a killed Dolt would.
    """

    def __init__(self, folder: Path, port: int = 0, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    def start(self) -> int:
        """Listen, and return the port. Raises Unreachable when the port is taken."""
        logging.getLogger("mysql_mimic").setLevel(logging.CRITICAL)  # it logs every refused query
        self._failure = None
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="gtftd-dolt-standin", daemon=True)
        self._thread.start()
        if not ready.wait(START_S) or self._failure is not None:
            self.stop()
            raise Unreachable(f"the stand-in cannot listen on {self.host}:{self.port}: {self._failure}")
        log.info("standin.started", host=self.host, port=self.port, databases=list_databases(self.folder))
        return self.port

    def stop(self) -> None:
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(START_S)
        self._loop = self._thread = None

    def open_session(self) -> Session:
        """What serves one client."""
        return _BeadsSession(self.folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(_report)
        self._loop = loop
        server = MysqlServer(session_factory=self.open_session)
        try:
            loop.run_until_complete(server.start_server(host=self.host, port=self.port))
            self.port = int(server.sockets()[0].getsockname()[1])
            ready.set()
            loop.run_forever()
        except OSError as error:
            self._failure = error
            ready.set()
        finally:
            server.close()
            loop.run_until_complete(_cancel_rest())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Streams complain of connections cancelled at the stop; everything else is told as usual."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


async def _cancel_rest() -> None:
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


class _BeadsSession(Session):  # type: ignore[misc]  # mysql-mimic ships no types
    """One client. mysql-mimic answers SHOW, SET, `@@variables` and DATABASE() by itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.variables.set("version", VERSION, force=True)
        self.middlewares.insert(0, self._replace_clock)
        self._folder = folder
        self._sqlite: sqlite3.Connection | None = None
        self._information: tuple[dict[str, int], InfoSchema] | None = None

    async def close(self) -> None:
        if self._sqlite is not None:
            self._sqlite.close()
            self._sqlite = None
        await super().close()

    async def use(self, database: str) -> None:
        self._check(database)
        await super().use(database)

    async def query(self, expression: exp.Expression, sql: str, attrs: dict[str, str]) -> ResultSet:
        if not isinstance(expression, exp.Query):
            raise MysqlError("this stand-in for Dolt only reads", code=ErrorCode.NOT_SUPPORTED_YET)
        connection = self._open()
        self._check(self.database)
        try:
            cursor = connection.execute(dialect.translate(expression, self.database))
            rows = [tuple(row) for row in cursor.fetchall()]
        except sqlite3.Error as error:
            code = NO_SUCH_TABLE if "no such table" in str(error) else ErrorCode.UNKNOWN_ERROR
            raise MysqlError(f"{error}; this is a stand-in for Dolt on SQLite", code=code) from error
        names = [column[0] for column in cursor.description]
        columns = dialect.result_columns(expression, names, self._declared(expression), rows)
        return ResultSet(dialect.to_mysql(rows, columns), columns)

    async def schema(self) -> InfoSchema:
        """What INFORMATION_SCHEMA and SHOW say: the databases as they are on disk now."""
        connection = self._open()
        versions = {
            name: int(connection.execute(f"PRAGMA {name}.schema_version").fetchone()[0])
            for name in list_databases(self._folder)
        }
        if self._information is None or self._information[0] != versions:
            mapping = {name: _tables(connection, name) for name in versions}
            self._information = (versions, InfoSchema.from_mapping(mapping))
        return self._information[1]

    async def _begin_middleware(self, q: Query) -> AllowedResult:
        """START TRANSACTION: from its first read of a database on, a client sees one state of it."""
        if isinstance(q.expression, exp.Transaction) and not self._open().in_transaction:
            self._open().execute("BEGIN")
        return await super()._begin_middleware(q)

    async def _commit_middleware(self, q: Query) -> AllowedResult:
        self._finish(q.expression, exp.Commit)
        return await super()._commit_middleware(q)

    async def _rollback_middleware(self, q: Query) -> AllowedResult:
        self._finish(q.expression, exp.Rollback)
        return await super()._rollback_middleware(q)

    def _finish(self, expression: exp.Expression, kind: type[exp.Expression]) -> None:
        if isinstance(expression, kind) and self._sqlite is not None and self._sqlite.in_transaction:
            self._sqlite.execute("COMMIT")

    async def _replace_clock(self, query: Query) -> AllowedResult:
        """`UTC_TIMESTAMP()`, which mysql-mimic leaves alone; its `NOW()` is in UTC as well."""
        dialect.replace_utc_timestamp(query.expression, self.timestamp)
        return await query.next()

    def _check(self, database: str | None) -> None:
        if database and database not in list_databases(self._folder):
            raise MysqlError(f"Unknown database '{database}'", code=UNKNOWN_DATABASE)

    def _open(self) -> sqlite3.Connection:
        if self._sqlite is None:
            self._sqlite = open_all(self._folder)
        if not self._sqlite.in_transaction:  # SQLite attaches nothing inside one
            attach_new(self._sqlite, self._folder)
        return self._sqlite

    def _declared(self, expression: exp.Expression) -> dict[str, str]:
        """Types of every column of every table in the query; equal names have equal types in beads."""
        declared: dict[str, str] = {}
        for table in expression.find_all(exp.Table):
            declared |= dialect.declared_types(self._open(), table.db or self.database or "", table.name)
        return declared


def _tables(connection: sqlite3.Connection, database: str) -> dict[str, dict[str, str]]:
    rows = connection.execute(f"SELECT name FROM {database}.sqlite_master WHERE type = 'table'").fetchall()
    names = sorted(row[0] for row in rows if not row[0].startswith("sqlite_"))
    return {name: dialect.declared_types(connection, database, name) for name in names}
