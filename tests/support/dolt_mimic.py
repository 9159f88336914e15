"""A server that takes writes and knows Dolt's procedures, on SQLite: DOLT_ADD stages a table, DOLT_COMMIT records it.

What is staged and what is committed are digests of the tables' rows, so a test sees which state of which table
each commit holds. The rest is as in Dolt where the projection can notice: a commit of nothing is an error, a table
that is not there cannot be added, locks have names and end with their connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import sqlglot
from mysql_mimic import AllowedResult, Session
from mysql_mimic.errors import ErrorCode, MysqlError
from mysql_mimic.schema import InfoSchema
from mysql_mimic.session import Query
from sqlglot import expressions as exp

from gtftd.sampletown.standin import StandIn

BUSY, UNKNOWN_DATABASE, NO_SUCH_TABLE = 1205, 1049, 1146
_PLUMBING = ("dolt_log", "dolt_staged")
_CREATE = (
    "CREATE TABLE IF NOT EXISTS dolt_log (seq INTEGER PRIMARY KEY, message TEXT, author TEXT, tables TEXT)",
    "CREATE TABLE IF NOT EXISTS dolt_staged (name TEXT PRIMARY KEY, digest TEXT)",
)


class DoltMimic(StandIn):
    """One SQLite file a database in `folder`; the port stays the same over a restart."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.locks: dict[str, _DoltSession] = {}
        logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what SQLite does not know

    def open_session(self) -> Session:
        return _DoltSession(self)

    def stop(self) -> None:
        super().stop()
        self.locks.clear()

    def make(self, database: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.connect(database) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in _CREATE:
                connection.execute(statement)
        connection.close()

    def file(self, database: str) -> Path:
        return self.folder / f"{database}.db"

    def connect(self, database: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file(database), isolation_level=None, timeout=0.2, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")
        return connection


class _DoltSession(Session):  # type: ignore[misc]  # mysql-mimic ships no types
    def __init__(self, server: DoltMimic) -> None:
        super().__init__()
        self.middlewares.insert(0, self._procedures)
        self._server = server
        self._sqlite: sqlite3.Connection | None = None

    async def close(self) -> None:
        for name in [name for name, holder in self._server.locks.items() if holder is self]:
            del self._server.locks[name]
        if self._sqlite is not None:
            self._sqlite.close()
            self._sqlite = None
        await super().close()

    async def use(self, database: str) -> None:
        if not self._server.file(database).is_file():
            raise MysqlError(f"Unknown database '{database}'", code=UNKNOWN_DATABASE)
        await super().use(database)

    async def schema(self) -> InfoSchema:
        connection = self._open()
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {
            name: {row[1]: "text" for row in connection.execute(f"PRAGMA table_info({name})")}
            for name in names
            if not name.startswith(("sqlite_", "dolt_"))
        }
        return InfoSchema.from_mapping({self.database: tables} if tables else {self.database: {"": {"none": "text"}}})

    async def query(self, expression: exp.Expression, sql: str, attrs: dict[str, str]) -> AllowedResult:
        if sql.startswith("REPLACE "):
            insertion = sqlglot.parse_one(f"INSERT{sql[7:]}", dialect="mysql").sql(dialect="sqlite")
            self._execute(f"INSERT OR REPLACE{insertion[6:]}")
            return [], []
        cursor = self._execute(_in_sqlite(expression))
        if cursor.description is None:
            return [], []
        return [tuple(row) for row in cursor.fetchall()], [column[0] for column in cursor.description]

    async def _procedures(self, q: Query) -> AllowedResult:
        """Locks, transactions and CALL come here before mysql-mimic has its say."""
        sql = q.sql.strip()
        if sql.startswith("CALL "):
            call = sqlglot.parse_one(f"SELECT {sql[5:]}", dialect="mysql").find(exp.Anonymous)
            assert call is not None
            return self._call(call.name.upper(), [argument.name for argument in call.expressions])
        if isinstance(q.expression, exp.Select) and (found := q.expression.find(exp.Anonymous)):
            if found.name.upper() == "GET_LOCK":
                return [[await self._lock(found.expressions[0].name, float(found.expressions[1].name))]], ["held"]
            if found.name.upper() == "RELEASE_LOCK":
                self._server.locks.pop(found.expressions[0].name, None)
                return [[1]], ["released"]
        if isinstance(q.expression, exp.Transaction | exp.Commit | exp.Rollback):
            self._turn(q.expression)
            return [], []
        return await q.next()

    async def _lock(self, name: str, wait_s: float) -> int:
        for _ in range(int(wait_s / 0.02) + 1):
            if self._server.locks.setdefault(name, self) is self:
                return 1
            await asyncio.sleep(0.02)
        return 0

    def _turn(self, expression: exp.Expression) -> None:
        connection = self._open()
        if isinstance(expression, exp.Transaction):
            self._execute("BEGIN")
        elif connection.in_transaction:
            self._execute("COMMIT" if isinstance(expression, exp.Commit) else "ROLLBACK")

    def _call(self, name: str, arguments: list[str]) -> AllowedResult:
        if name == "DOLT_ADD":
            for table in arguments:
                self._execute("INSERT OR REPLACE INTO dolt_staged VALUES (?, ?)", (table, self._digest(table)))
            return [[0]], ["status"]
        if name == "DOLT_COMMIT":
            message, author = arguments[arguments.index("-m") + 1], arguments[arguments.index("--author") + 1]
            return [[self._commit(message, author)]], ["hash"]
        raise MysqlError(f"PROCEDURE {name} does not exist", code=1305)

    def _commit(self, message: str, author: str) -> str:
        head = self._execute("SELECT tables FROM dolt_log ORDER BY seq DESC LIMIT 1").fetchone()
        known: dict[str, Any] = json.loads(head[0]) if head else {}
        staged = known | dict(self._execute("SELECT name, digest FROM dolt_staged").fetchall())
        if staged == known:
            raise MysqlError("nothing to commit", code=ErrorCode.UNKNOWN_ERROR)
        values = (message, author, json.dumps(staged))
        self._execute("INSERT INTO dolt_log (message, author, tables) VALUES (?, ?, ?)", values)
        self._execute("DELETE FROM dolt_staged")
        return hashlib.sha256(repr(values).encode()).hexdigest()[:32]

    def _digest(self, table: str) -> str:
        return digest(self._execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall())

    def _execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._open().execute(sql, values)
        except sqlite3.OperationalError as error:
            code = NO_SUCH_TABLE if "no such table" in str(error) else ErrorCode.UNKNOWN_ERROR
            raise MysqlError(f"{error}: {sql[:80]}", code=BUSY if "locked" in str(error) else code) from error

    def _open(self) -> sqlite3.Connection:
        if self._sqlite is None:
            self._sqlite = self._server.connect(self.database)
        return self._sqlite


def digest(rows: list[Any]) -> str:
    return hashlib.sha256(repr([tuple(row) for row in rows]).encode()).hexdigest()


def _in_sqlite(expression: exp.Expression) -> str:
    tree = expression.copy()
    if isinstance(tree, exp.Select):
        tree.set("locks", None)
    return str(tree.sql(dialect="sqlite"))
