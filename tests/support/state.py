"""Opens a state file for one test, and reads tables whole."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gtftd.state import Database


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Database]:
    database = Database.open(file)
    try:
        yield database
    finally:
        database.close()


def rows(file: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
