"""What is indexed, on disk: documents, their chunks, and the instructions that are gone, in one SQLite file."""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

from gtftd.errors import Busy, Corrupt, GtftdError, NoSpace, NotReady
from gtftd.rag.chunking import Chunk
from gtftd.rag.stored import SELECT, StoredChunk, chunk_of, micros
from gtftd.schemas.rag import IndexDocument
from gtftd.state.crash import crash_point

T = TypeVar("T")
VERSION = 1
MAX_TOMBSTONES = 500
"""Of one document: what it said longer ago is dropped."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, rig TEXT, roles TEXT NOT NULL, title TEXT NOT NULL,
    updated_at INTEGER NOT NULL, instructs INTEGER NOT NULL, card TEXT, bead TEXT, status TEXT, assignee TEXT,
    priority INTEGER, gone_at INTEGER
) WITHOUT ROWID;
CREATE INDEX documents_bead ON documents (bead) WHERE bead IS NOT NULL;
CREATE INDEX documents_status ON documents (status, assignee) WHERE status IS NOT NULL;
CREATE TABLE chunks (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL, ordinal INTEGER NOT NULL,
    heading TEXT NOT NULL, text TEXT NOT NULL, embed_text TEXT NOT NULL, first_seen INTEGER NOT NULL, gone_at INTEGER
);
CREATE INDEX chunks_document ON chunks (document, ordinal);
"""


@dataclass
class Change:
    """What a write did; chunks by id."""

    added: list[tuple[IndexDocument, Chunk]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    touched: list[IndexDocument] = field(default_factory=list)
    """Documents that were taken over, with or without new chunks."""
    retitled: list[str] = field(default_factory=list)
    """Of those, the ones whose title, roles or names changed."""
    unchanged: int = 0
    revision: int = 0


class Texts:
    """Writes are transactions with fsync, one at a time; reads run beside them on a connection of their own."""

    def __init__(self, path: Path, writer: sqlite3.Connection, *, healed: str = "") -> None:
        self.path = path
        self.healed = healed
        """What was wrong with the file that was found, if anything: this one is new then."""
        self._writer = writer
        self._reader = _connect(path)
        self._reader.execute("PRAGMA query_only = 1")
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self.generation = self._meta("generation")
        self.revision = int(self._meta("revision"))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create. A file that cannot be read is removed, and a new generation begins."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return cls(path, _open(path))
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise _translate(error, path) from error
            remove_file(path)
            return cls(path, _open(path), healed=f"{path.name}: {error}")

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()

    def put(self, items: Sequence[tuple[IndexDocument, Sequence[Chunk]]], *, forget: bool = False) -> Change:
        """Take over documents that are not older than what is stored; all of them or none."""

        def work(change: Change) -> None:
            for document, chunks in items:
                self._put(change, document, chunks, forget=forget)

        return self._write(work, forget=forget)

    def remove(self, ids: Sequence[str], *, at: datetime, forget: bool = False) -> Change:
        """Take documents out. Instructions leave a tombstone, unless they are to be forgotten."""
        moment = micros(at)

        def work(change: Change) -> None:
            for id_ in ids:
                self._remove(change, id_, moment, forget)

        return self._write(work, forget=forget)

    def ids(self, prefix: str) -> list[str]:
        where = "SELECT id FROM documents WHERE id >= ? AND id < ? AND gone_at IS NULL"
        rows = self.read(lambda reader: reader.execute(where, (prefix, prefix + "\U0010ffff")).fetchall())
        return [id_ for (id_,) in rows if id_.startswith(prefix)]

    def chunks(self, ids: Iterable[str]) -> dict[str, StoredChunk]:
        """Those that are there, by id."""
        wanted = json.dumps(list(ids))
        where = f"{SELECT} JOIN json_each(?) AS wanted ON wanted.value = chunks.id WHERE chunks.gone_at IS NULL"
        rows = self.read(lambda reader: reader.execute(where, (wanted,)).fetchall())
        return {row[0]: chunk_of(row) for row in rows}

    def every_chunk(self, *, page: int = 500) -> Iterator[list[StoredChunk]]:
        """All that live, in pages, in the order of their coming."""
        after = 0
        where = f"{SELECT} WHERE chunks.seq > ? AND chunks.gone_at IS NULL ORDER BY chunks.seq LIMIT ?"
        while rows := self.read(lambda reader: reader.execute(where, (after, page)).fetchall()):  # noqa: B023
            after = rows[-1][1]
            yield [chunk_of(row) for row in rows]

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Documents, chunks and the newest update (microseconds), by collection."""
        where = """
            SELECT collection, COUNT(*), MAX(updated_at),
                SUM((SELECT COUNT(*) FROM chunks WHERE document = documents.id AND chunks.gone_at IS NULL))
            FROM documents WHERE gone_at IS NULL GROUP BY collection
        """
        rows = self.read(lambda reader: reader.execute(where).fetchall())
        return {name: (documents, chunks, newest) for name, documents, newest, chunks in rows}

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Raises Corrupt when the file is broken."""
        try:
            with self._read_lock:
                return work(self._reader)
        except sqlite3.Error as error:
            raise _translate(error, self.path) from error

    def _write(self, work: Callable[[Change], None], *, forget: bool) -> Change:
        change = Change()
        with self._write_lock:
            try:
                with _transaction(self._writer):
                    work(change)
                    if change.touched or change.removed:
                        self._writer.execute(
                            "UPDATE meta SET value = ? WHERE key = 'revision'", (str(self.revision + 1),)
                        )
                    crash_point("index.before_commit")
                if forget:  # the journal still has the pages as they were
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                raise _translate(error, self.path) from error
            if change.touched or change.removed:
                self.revision += 1
            change.revision = self.revision
        return change

    def _put(self, change: Change, document: IndexDocument, chunks: Sequence[Chunk], *, forget: bool) -> None:
        found = self._writer.execute(
            "SELECT updated_at, title, roles, card, rig, collection, gone_at FROM documents WHERE id = ?",
            (document.id,),
        ).fetchone()
        had = dict(self._writer.execute("SELECT id, gone_at FROM chunks WHERE document = ?", (document.id,)))
        updated = micros(document.updated_at)
        if found is not None and found[-1] is None and found[0] > updated:
            change.unchanged += sum(gone is None for gone in had.values())
            return
        row = _document_row(document)
        self._writer.execute(f"REPLACE INTO documents VALUES ({','.join('?' * len(row))})", row)
        if found is not None and found[1:3] != (document.title, row[3]):
            change.retitled.append(document.id)
        wanted = {chunk.id: chunk for chunk in chunks}
        self._drop(change, document, [id_ for id_ in had if id_ not in wanted], had, updated, forget)
        for chunk in wanted.values():
            self._put_chunk(change, document, chunk, had)
        change.touched.append(document)

    def _put_chunk(self, change: Change, document: IndexDocument, chunk: Chunk, had: dict[str, int | None]) -> None:
        if chunk.id in had:
            self._writer.execute(
                "UPDATE chunks SET ordinal = ?, embed_text = ?, gone_at = NULL WHERE id = ?",
                (chunk.ordinal, chunk.embed_text, chunk.id),
            )
            if had[chunk.id] is None:
                change.unchanged += 1
                return
        else:
            self._writer.execute(
                "INSERT INTO chunks (id, document, ordinal, heading, text, embed_text, first_seen)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    chunk.id,
                    document.id,
                    chunk.ordinal,
                    chunk.heading,
                    chunk.text,
                    chunk.embed_text,
                    micros(document.updated_at),
                ),
            )
        change.added.append((document, chunk))

    def _drop(
        self,
        change: Change,
        document: IndexDocument,
        ids: list[str],
        had: dict[str, int | None],
        moment: int,
        forget: bool,
    ) -> None:
        """Chunks that the document no longer has; those of instructions become tombstones."""
        living = [(id_,) for id_ in ids if had[id_] is None]
        change.removed += [id_ for (id_,) in living]
        if forget:
            self._writer.executemany("DELETE FROM chunks WHERE id = ?", [(id_,) for id_ in ids])
        elif document.instructs:
            self._writer.executemany(f"UPDATE chunks SET gone_at = {moment} WHERE id = ?", living)
            self._writer.execute(
                "DELETE FROM chunks WHERE seq IN (SELECT seq FROM chunks WHERE document = ? AND gone_at IS NOT NULL"
                " ORDER BY gone_at DESC, seq DESC LIMIT -1 OFFSET ?)",
                (document.id, MAX_TOMBSTONES),
            )
        else:
            self._writer.executemany("DELETE FROM chunks WHERE id = ?", living)

    def _remove(self, change: Change, id_: str, moment: int, forget: bool) -> None:
        found = self._writer.execute("SELECT instructs FROM documents WHERE id = ?", (id_,)).fetchone()
        if found is None:
            return
        living = self._writer.execute("SELECT id FROM chunks WHERE document = ? AND gone_at IS NULL", (id_,)).fetchall()
        change.removed += [chunk for (chunk,) in living]
        if found[0] and not forget:
            self._writer.execute("UPDATE chunks SET gone_at = ? WHERE document = ? AND gone_at IS NULL", (moment, id_))
            self._writer.execute("UPDATE documents SET gone_at = ? WHERE id = ? AND gone_at IS NULL", (moment, id_))
        else:
            self._writer.execute("DELETE FROM chunks WHERE document = ?", (id_,))
            self._writer.execute("DELETE FROM documents WHERE id = ?", (id_,))

    def _meta(self, key: str) -> str:
        (value,) = self._writer.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(value)


def remove_file(path: Path) -> None:
    """The file and its journal: all of it can be made again."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.DatabaseError when the file is not one of ours, or not whole."""
    connection = _connect(path)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with _transaction(connection):
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                meta = [("generation", secrets.token_hex(8)), ("revision", "0")]
                connection.executemany("INSERT INTO meta VALUES (?, ?)", meta)
                connection.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise _OtherVersion(f"schema version {version}, not {VERSION}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _OtherVersion(str(verdict))
        if connection.execute("SELECT COUNT(*) FROM meta").fetchone() != (2,):
            raise _OtherVersion("the generation is missing")
    except BaseException:
        connection.close()
        raise
    return connection


class _OtherVersion(sqlite3.DatabaseError):
    """A file that is readable and not what we need."""


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -8192")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _document_row(document: IndexDocument) -> tuple[str | int | None, ...]:
    card = document.bead
    return (
        document.id,
        document.collection,
        document.rig,
        json.dumps(document.roles),
        document.title,
        micros(document.updated_at),
        int(document.instructs),
        card.model_dump_json() if card else None,
        card.bead if card else None,
        card.status if card else None,
        card.assignee if card else None,
        card.priority if card else None,
        None,
    )


def _is_broken(error: sqlite3.Error) -> bool:
    """The file itself, rather than the disk or a rival, is what is wrong."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def _translate(error: sqlite3.Error, path: Path) -> GtftdError:
    if isinstance(error, sqlite3.ProgrammingError):
        return NotReady(f"{path.name} was closed meanwhile; ask again")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return NoSpace(f"no space left for {path}: {error}; free some disk")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy(f"{path} is locked by another process: {error}")
    if _is_broken(error):
        return Corrupt(f"{path}: {error}; the index begins anew")
    return NoSpace(f"cannot write {path}: {error}; look at the disk under it")


def now() -> datetime:
    return datetime.now(UTC)
