"""The SQLite files behind the stand-in: one for each beads database."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.sampletown.schema import Schema, create_statements

SUFFIX = ".sqlite"
BUSY_MS = 10_000
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


def folder_of(town: Path) -> Path:
    """Where a sample town keeps its databases."""
    return town / ".sample" / "dolt"


def database_file(folder: Path, name: str) -> Path:
    """The file of a database. Raises Invalid for a name that is no plain word."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot name a database; use letters, digits and underscores")
    return folder / f"{name}{SUFFIX}"


def list_databases(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.stem)))


def create_database(folder: Path, name: str, schema: Schema = "new") -> None:
    """Make the tables; a database that has them keeps its rows and its schema."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = open_database(folder, name)
    try:
        for statement in create_statements(schema):
            connection.execute(statement)
    except sqlite3.OperationalError as error:
        raise Invalid(f"{database_file(folder, name)} holds other tables than {schema} beads ({error})") from error
    finally:
        connection.close()


def open_database(folder: Path, name: str) -> sqlite3.Connection:
    """A connection that writes: WAL, so that readers never wait; every statement stands alone unless BEGIN."""
    connection = sqlite3.connect(
        database_file(folder, name), isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def open_all(folder: Path) -> sqlite3.Connection:
    """A read-only connection with every database attached under its name."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    attach_new(connection, folder)
    connection.execute("PRAGMA query_only=ON")
    return connection


def attach_new(connection: sqlite3.Connection, folder: Path) -> None:
    """Attach the databases that appeared since."""
    attached = {row[1] for row in connection.execute("PRAGMA database_list")}
    for name in list_databases(folder):
        if name not in attached:
            connection.execute("ATTACH DATABASE ? AS ?", (str(database_file(folder, name)), name))
