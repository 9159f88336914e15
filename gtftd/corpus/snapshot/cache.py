"""`features.db`: what was measured of contents, by content hash. A cache: it may be deleted at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gtftd.corpus.snapshot.features import VERSION, Features, decode

_SCHEMA = """
CREATE TABLE IF NOT EXISTS features (
    sha256 TEXT PRIMARY KEY, version TEXT NOT NULL, features TEXT NOT NULL, sketch BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS phrases (sha256 TEXT PRIMARY KEY, hashes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evals (sha256 TEXT PRIMARY KEY, digest TEXT NOT NULL, items TEXT NOT NULL) WITHOUT ROWID;
"""
_BATCH = 500


@dataclass(frozen=True)
class Sketched:
    """What is kept in memory of one content while a snapshot is built."""

    features: Features
    sketch: bytes


class FeatureCache:
    """One connection, one writer: the builder that holds the lock."""

    def __init__(self, connection: sqlite3.Connection, version: str) -> None:
        self._connection = connection
        self._version = version

    @classmethod
    def open(cls, path: Path, window_tokens: int) -> Self:
        """A file that is no database, or of another making, is made anew."""
        try:
            connection = _connect(path)
        except sqlite3.DatabaseError:
            for file in (path, *path.parent.glob(f"{path.name}-*")):
                file.unlink(missing_ok=True)
            connection = _connect(path)
        return cls(connection, f"{VERSION}:{window_tokens}")

    def close(self) -> None:
        self._connection.close()

    def known(self) -> set[str]:
        """Contents whose features are there."""
        rows = self._connection.execute("SELECT sha256 FROM features WHERE version = ?", (self._version,))
        return {row[0] for row in rows}

    def compared(self, digest: str) -> dict[str, tuple[str, ...]]:
        """Contents and texts that were compared with this examination, and the items found in each."""
        rows = self._connection.execute("SELECT sha256, items FROM evals WHERE digest = ?", (digest,))
        return {sha256: tuple(items.split("\n")) if items else () for sha256, items in rows}

    def read(self, wanted: Collection[str]) -> dict[str, Sketched]:
        """Features and sketches of these contents."""
        rows = self._connection.execute(
            "SELECT sha256, features, sketch FROM features WHERE version = ?", (self._version,)
        )
        return {sha256: Sketched(decode(text), sketch) for sha256, text, sketch in rows if sha256 in wanted}

    def phrases(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """One after another, by content hash: together they are the largest part of the cache."""
        rows = self._connection.execute("SELECT sha256, hashes FROM phrases ORDER BY sha256")
        return ((sha256, hashes) for sha256, hashes in rows if sha256 in wanted)

    def write(self, rows: Collection[tuple[str, str, bytes, bytes]]) -> None:
        """(sha256, features, sketch, phrases) each."""
        with self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)",
                [(sha256, self._version, features, sketch) for sha256, features, sketch, _ in rows],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO phrases VALUES (?, ?)", [(sha256, hashes) for sha256, _, _, hashes in rows]
            )

    def write_compared(self, digest: str, found: Mapping[str, Collection[str]]) -> None:
        rows = [(sha256, digest, "\n".join(items)) for sha256, items in found.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO evals VALUES (?, ?, ?)", rows)

    def forget(self, gone: Iterable[str]) -> None:
        """Nothing of these contents stays in the file, not in its free pages either."""
        rows = [(sha256,) for sha256 in gone]
        with self._connection:
            for table in ("features", "phrases", "evals"):
                self._connection.executemany(f"DELETE FROM {table} WHERE sha256 = ?", rows)


def forget(path: Path, gone: Collection[str]) -> None:
    """Like `FeatureCache.forget`, for a file that may not be there."""
    if path.is_file():
        cache = FeatureCache.open(path, 0)
        try:
            cache.forget(gone)
        finally:
            cache.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA cache_size = -8192")
        connection.executescript(_SCHEMA)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
