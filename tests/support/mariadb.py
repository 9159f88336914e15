"""A private MariaDB for tests, and beads databases in it: the schema of early 2026 and the one since."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pymysql
import pytest
from pymysql.cursors import DictCursor

Schema = Literal["old", "new"]
MARIADBD = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")
START_S = 30
_ISSUE = """(id VARCHAR(255) PRIMARY KEY, title VARCHAR(500) NOT NULL, description LONGTEXT,
 status VARCHAR(32) NOT NULL, priority INT, issue_type VARCHAR(32) NOT NULL, assignee VARCHAR(255),
 created_at DATETIME, updated_at DATETIME,
 closed_at DATETIME, close_reason TEXT)"""
_VALUES = """issue_id VARCHAR(255) NOT NULL, event_type VARCHAR(32) NOT NULL, actor VARCHAR(255) NOT NULL,
 old_value LONGTEXT, new_value LONGTEXT, comment LONGTEXT, created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP"""
_ID = {"old": "BIGINT AUTO_INCREMENT", "new": "CHAR(36) DEFAULT (UUID())"}
_TARGET = {
    "old": "depends_on_id VARCHAR(255) NOT NULL",
    "new": "depends_on_issue_id VARCHAR(255), depends_on_wisp_id VARCHAR(255), depends_on_external VARCHAR(255)",
}


class MariaDb:
    """A mariadbd of our own in `folder`, on a port that stays the same over a restart."""

    def __init__(self, folder: Path, zone: str = "+00:00") -> None:
        self.folder = folder
        self.zone = zone
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        command = ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db"]
        command += ["--auth-root-authentication-method=normal", "--user=root"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        assert MARIADBD is not None
        command = [MARIADBD, "--no-defaults", f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 's'}"]
        command += [f"--port={self.port}", "--bind-address=127.0.0.1", "--user=root", "--skip-log-bin"]
        command += ["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"]
        command += [f"--pid-file={self.folder / 'pid'}", f"--default-time-zone={self.zone}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.connect().close()
                return
            except pymysql.err.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_S)
            self._process = None

    def connect(self, database: str | None = None) -> pymysql.Connection[DictCursor]:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            database=database,
            autocommit=True,
            charset="utf8mb4",
            cursorclass=DictCursor,
        )

    def beads(self, name: str, schema: Schema = "new", *, wisps: bool = True) -> BeadsDatabase:
        """A fresh beads database of this name. Ids differ by case, as in Dolt."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        made = BeadsDatabase(name, schema, self.connect(name))
        for events, issues in (("events", "issues"), ("wisp_events", "wisps")):
            if issues == "issues" or wisps:
                made.run(f"CREATE TABLE {issues} {_ISSUE}")
                columns = f"id {_ID[schema]} PRIMARY KEY, {_VALUES}, INDEX (created_at), INDEX (issue_id)"
                made.run(f"CREATE TABLE {events} ({columns})")
        made.run(f"CREATE TABLE dependencies (issue_id VARCHAR(255), {_TARGET[schema]}, type VARCHAR(32))")
        return made


@dataclass
class BeadsDatabase:
    """Writes as bd does: the issue and its history row in one transaction."""

    name: str
    schema: Schema
    connection: pymysql.Connection[DictCursor]
    next_id: int = field(default=1)

    def run(self, sql: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())

    def insert(self, table: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Rows with equal keys, in one statement."""
        rows = list(rows)
        if not rows:
            return
        names = list(rows[0])
        marks = ", ".join(["%s"] * len(names))
        with self.connection.cursor() as cursor:
            sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
            cursor.executemany(sql, [[row[name] for name in names] for row in rows])

    def event_row(self, row: Mapping[str, Any]) -> dict[str, object]:
        """A row of an export in this schema: its number stays, or becomes an id that tells no order."""
        names = ("issue_id", "event_type", "actor", "old_value", "new_value", "comment")
        id_ = row["id"] if self.schema == "old" else str(uuid.uuid5(uuid.NAMESPACE_OID, str(row["id"])))
        return {"id": id_, **{name: row.get(name) for name in names}, "created_at": naive(row["created_at"])}

    def write(
        self,
        bead: str,
        kind: str,
        *,
        at: datetime,
        actor: str = "mayor",
        old: Mapping[str, object] | None = None,
        new: Mapping[str, object] | str = "",
        wisp: bool = False,
        **issue: object,
    ) -> None:
        """One change of one bead: its history row at `at`, and `issue` as what the bead is then."""
        events, issues = ("wisp_events", "wisps") if wisp else ("events", "issues")
        values = new if isinstance(new, str) else json.dumps(new)
        row = {
            "id": self.next_id if self.schema == "old" else str(uuid.uuid4()),
            "issue_id": bead,
            "event_type": kind,
            "actor": actor,
            "old_value": json.dumps(old) if old else "",
            "new_value": values,
            "created_at": at,
        }
        self.next_id += 1
        self.connection.begin()
        self.run(
            f"INSERT IGNORE INTO {issues} (id, title, status, issue_type) VALUES (%s, %s, 'open', 'task')",
            (bead, f"Title of {bead}"),
        )
        for name, value in issue.items():
            self.run(f"UPDATE {issues} SET {name} = %s, updated_at = %s WHERE id = %s", (value, at, bead))
        self.insert(events, [row])
        self.connection.commit()

    def close_bead(self, bead: str, reason: str, *, at: datetime, wisp: bool = False, actor: str = "mayor") -> None:
        state = {"status": "closed", "close_reason": reason, "closed_at": at}
        self.write(bead, "closed", at=at, new=reason, wisp=wisp, actor=actor, **state)

    def reopen(self, bead: str, *, at: datetime, status: str = "open") -> None:
        was = {"status": "closed"}
        state = {"status": status, "close_reason": "", "closed_at": None}
        self.write(bead, "reopened", at=at, old=was, new={"status": status}, **state)


def start_mariadb(folder: Path, zone: str = "+00:00") -> MariaDb:
    """Installed and running, or the test is skipped."""
    if MARIADBD is None or shutil.which("mariadb-install-db") is None:
        pytest.skip("no mariadbd on this machine")
    server = MariaDb(folder, zone)
    server.install()
    server.start()
    return server


def naive(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC).replace(tzinfo=None)


def read_export(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def issue_rows(issues: Iterable[Mapping[str, Any]]) -> list[dict[str, object]]:
    plain = ("id", "title", "status", "issue_type", "assignee", "close_reason")
    times = ("created_at", "updated_at", "closed_at")
    return [
        {
            **{name: issue.get(name) for name in plain},
            **{name: naive(issue[name]) if issue.get(name) else None for name in times},
        }
        for issue in issues
    ]


def follow_issue(database: BeadsDatabase, row: Mapping[str, Any], zone: timedelta) -> None:
    """Do to the issue what the history row says was done to it; `zone` brings the row's clock to UTC."""
    at = naive(row["created_at"]) + zone
    old, new = _loaded(row.get("old_value")), _loaded(row.get("new_value"))
    known = {**({} if old is None else old), **({} if new is None else new)}
    if row["event_type"] == "created":
        known = {"status": "open"}
    if row["event_type"] == "closed":
        reason = (new or {}).get("close_reason", "") if new is not None else row["new_value"]
        known |= {"status": "closed", "close_reason": reason, "closed_at": at.isoformat()}
    elif "status" in known and known["status"] != "closed":
        known |= {"close_reason": "", "closed_at": None}
    names = [name for name in ("status", "assignee", "close_reason") if name in known]
    pairs = [(name, known[name]) for name in names]
    if "closed_at" in known:
        pairs.append(("closed_at", naive(known["closed_at"]) if known["closed_at"] else None))
    pairs.append(("updated_at", at))
    changes = ", ".join(f"{name} = %s" for name, _ in pairs)
    database.run(f"UPDATE issues SET {changes} WHERE id = %s", [*[value for _, value in pairs], row["issue_id"]])


def _loaded(value: str | None) -> dict[str, Any] | None:
    if not value or not value.startswith("{"):
        return None
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
