"""The one SQLite file: a writer thread with group commit, a reader thread, numbered migrations."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeVar

from gtftd.errors import Busy, Corrupt, GtftdError, NoSpace, Refused
from gtftd.state.crash import crash_point

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
GROUP = 512
"""Most pieces of work in one transaction."""
_OF_ALL = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}
"""Errors of the file or the disk; any other is the mistake of one piece."""


class Database:
    """Pieces of work run one after another in the writer thread; those that wait share one commit.

    A piece that raises is undone alone. `write` returns after the commit, with fsync: what it
    returned exists after a power cut. Reads run beside it on a connection of their own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = _connect(path)
        self._reader = _connect(path, read_only=True)
        self._read_pool = ThreadPoolExecutor(1, thread_name_prefix="gtftd-read")
        self._thread = threading.Thread(target=self._run, name="gtftd-write", daemon=True)
        self._thread.start()
        self._closed = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create or migrate, then start. Refused when the file comes from a newer gtftd."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        migrate(path)
        return cls(path)

    async def write(self, work: Work[T]) -> T:
        job = _Job(work, asyncio.get_running_loop())
        if self._closed:
            raise Refused(f"{self.path.name} is closed")
        self._inbox.put(job)
        result: T = await job.future
        return result

    async def read(self, work: Work[T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._read_pool, work, self._reader)
        except sqlite3.Error as error:
            raise _translate(error, self.path) from error

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._inbox.put(None)
        self._thread.join()
        self._read_pool.shutdown()
        self._writer.close()
        self._reader.close()

    def _run(self) -> None:
        while True:
            job = self._inbox.get()
            if job is None:
                return
            jobs = [job]
            stop = False
            while len(jobs) < GROUP:
                try:
                    following = self._inbox.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    stop = True
                    break
                jobs.append(following)
            self._commit(jobs)
            if stop:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        connection = self._writer
        results: list[tuple[_Job, Any, BaseException | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            results.extend(_perform(connection, job) for job in jobs)
            crash_point("database.before_commit")
            connection.execute("COMMIT")
            crash_point("database.committed")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            failure = _translate(error, self.path)
            results = [(job, None, failure) for job in jobs]
        _answer(results)


class _Job:
    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Work[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()


def _perform(connection: sqlite3.Connection, job: _Job) -> tuple[_Job, Any, BaseException | None]:
    """Run one piece inside a savepoint, so that its failure is its own."""
    connection.execute("SAVEPOINT piece")
    try:
        value = job.work(connection)
    except Exception as error:  # the piece belongs to the caller, who gets its error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_ALL:
            raise  # a full disk or a broken file concerns the whole transaction
        return _undone(connection, job, error)
    connection.execute("RELEASE piece")
    return job, value, None


def _undone(connection: sqlite3.Connection, job: _Job, error: Exception) -> tuple[_Job, None, BaseException | None]:
    connection.execute("ROLLBACK TO piece")
    connection.execute("RELEASE piece")
    return job, None, error


def _answer(results: list[tuple[_Job, Any, BaseException | None]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Any, BaseException | None]]] = {}
    for result in results:
        by_loop.setdefault(result[0].loop, []).append(result)
    for loop, group in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, group)


def _resolve(group: list[tuple[_Job, Any, BaseException | None]]) -> None:
    for job, value, error in group:
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -4096")
    connection.execute(f"PRAGMA query_only = {int(read_only)}")
    return connection


def open_writer(path: Path) -> sqlite3.Connection:
    """For programs beside the daemon; they take turns with it by SQLite's lock. The file was migrated before."""
    return _connect(path)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of SQLite as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection for programs beside the daemon; Missing files are not created."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    connection.execute("PRAGMA query_only = 1")
    return connection


@functools.cache
def migrations() -> list[tuple[int, str]]:
    folder = resources.files("gtftd.state") / "migrations"
    found = [(int(file.name[:4]), file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(found)


def migrate(path: Path) -> int:
    """Apply what is missing, each migration in one transaction; returns the version. Never edit an old one.

    Several processes may ask at once: one does it, the others wait.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        if check_version(connection, path) < migrations()[-1][0]:
            with _folder_locked(path.parent):
                _apply_missing(connection, check_version(connection, path))
        return check_version(connection, path)
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    finally:
        connection.close()


def _apply_missing(connection: sqlite3.Connection, version: int) -> None:
    for number, script in migrations():
        if number > version:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """`executescript` ends any transaction that it finds, so that SQLite's own lock does not serve here."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of the file. Refused when it is newer than ours."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = migrations()[-1][0]
    if version > newest:
        raise Refused(
            f"{path} has schema version {version}, this gtftd knows {newest}: "
            "it was written by a newer gtftd; run that one, or restore an older backup"
        )
    return int(version)


def _translate(error: sqlite3.Error, path: Path) -> GtftdError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return NoSpace(f"no space left for {path}: {error}; free some disk")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy(f"{path} is locked by another process: {error}")
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return NoSpace(f"cannot write {path}: {error}; look at the disk under it")
    return Corrupt(f"{path}: {error}; stop the daemon and look at it with `sqlite3 {path} 'PRAGMA integrity_check'`")
