"""The servers that the records are mirrored into: MariaDB, a mimic of Dolt, and Dolt itself where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pymysql
import pytest
from pymysql.cursors import DictCursor

from tests.support.dolt_mimic import DoltMimic, digest
from tests.support.mariadb import MariaDb, start_mariadb

DATABASE = "hq"
OURS = {"model_registry", "training_jobs", "dpo_preferences", "corpus_entries", "gtftd_position"}
DOLT = shutil.which("dolt")
START_S = 30


class Server(Protocol):
    """One database `hq`, on a port that stays the same over a restart."""

    port: int
    commits: bool
    """Whether it knows Dolt's procedures."""

    def start(self) -> object: ...
    def stop(self) -> None: ...
    def clear(self) -> None:
        """An empty database."""

    def run(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]: ...
    def audit(self) -> None:
        """From now on each state of a model is written down in the table `audit`, in order."""

    def messages(self) -> list[str]:
        """Of the commits, oldest first."""

    def uncommitted(self) -> set[str]:
        """Tables whose rows differ from those of the last commit."""


class Maria:
    commits = False

    def __init__(self, server: MariaDb) -> None:
        self.server = server
        self.port = server.port
        self.start, self.stop = server.start, server.stop

    def clear(self) -> None:
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
            cursor.execute(f"CREATE DATABASE {DATABASE}")

    def run(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        return _run(self.port, sql, values)

    def audit(self) -> None:
        _audit(self)

    def messages(self) -> list[str]:
        return []

    def uncommitted(self) -> set[str]:
        return set()


class Mimic:
    commits = True

    def __init__(self, server: DoltMimic) -> None:
        self.server = server
        self.start, self.stop = server.start, server.stop

    @property
    def port(self) -> int:
        return self.server.port

    def clear(self) -> None:
        for file in self.server.folder.glob("*.db*"):
            file.unlink()
        self.server.make(DATABASE)

    def run(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        return _run(self.port, sql, values)

    def audit(self) -> None:
        with self._connected() as connection:
            connection.executescript(
                "CREATE TABLE audit (seq INTEGER PRIMARY KEY, name TEXT, status TEXT);"
                + "".join(
                    f"CREATE TRIGGER audit_{when} AFTER {when} ON model_registry BEGIN"
                    " INSERT INTO audit (name, status) VALUES (NEW.name, NEW.deployment_status); END;"
                    for when in ("INSERT", "UPDATE")
                )
            )
        connection.close()

    def messages(self) -> list[str]:
        return [row["message"] for row in self._rows("SELECT message FROM dolt_log ORDER BY seq")]

    def uncommitted(self) -> set[str]:
        head = json.loads(self._rows("SELECT tables FROM dolt_log ORDER BY seq DESC LIMIT 1")[0]["tables"])
        assert set(head) <= OURS
        with self._connected() as connection:
            now = {name: digest(connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()) for name in OURS}
        connection.close()
        return {name for name in OURS if head.get(name) != now[name]}

    def _connected(self) -> sqlite3.Connection:
        return self.server.connect(DATABASE)

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        connection = self._connected()
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(sql)]
        connection.close()
        return rows


class Dolt:
    """A real `dolt sql-server` of our own."""

    commits = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert DOLT is not None
        command = [DOLT, "sql-server", "--host=127.0.0.1", f"--port={self.port}", f"--data-dir={self.folder / 'data'}"]
        environ = os.environ | {"DOLT_ROOT_PATH": str(self.folder), "HOME": str(self.folder)}
        (self.folder / "data").mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=self.folder)
        deadline = time.monotonic() + START_S
        while True:
            try:
                _run(self.port, "SELECT 1", database=None)
                return
            except pymysql.err.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_S)
            self._process = None

    def clear(self) -> None:
        _run(self.port, f"DROP DATABASE IF EXISTS {DATABASE}", database=None)
        _run(self.port, f"CREATE DATABASE {DATABASE}", database=None)

    def run(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        return _run(self.port, sql, values)

    def audit(self) -> None:
        _audit(self)

    def messages(self) -> list[str]:
        found = [row["message"] for row in self.run("SELECT message FROM dolt_log")]
        return [message for message in reversed(found) if message.startswith("gtftd")]

    def uncommitted(self) -> set[str]:
        return {row["table_name"] for row in self.run("SELECT table_name FROM dolt_status")} & OURS


def start_server(kind: str, folder: Path) -> Server:
    """Started and empty, or the test is skipped."""
    server: Server
    if kind == "mariadb":
        server = Maria(start_mariadb(folder))
    elif kind == "mimic":
        server = Mimic(DoltMimic(folder / "mimic"))
        server.start()
    else:
        if DOLT is None:
            pytest.skip("no dolt on this machine")
        server = Dolt(folder)
        server.start()
    server.clear()
    return server


def _audit(server: Server) -> None:
    server.run("CREATE TABLE audit (seq INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255), status VARCHAR(64))")
    for when in ("INSERT", "UPDATE"):
        server.run(
            f"CREATE TRIGGER audit_{when} AFTER {when} ON model_registry FOR EACH ROW"
            " INSERT INTO audit (name, status) VALUES (NEW.name, NEW.deployment_status)"
        )


def _run(
    port: int, sql: str, values: Sequence[object] = (), *, database: str | None = DATABASE
) -> list[dict[str, Any]]:
    connection = pymysql.connect(
        host="127.0.0.1", port=port, user="root", database=database, autocommit=True, charset="utf8mb4",
        cursorclass=DictCursor,
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
