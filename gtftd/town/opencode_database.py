"""OpenCode's database: sessions as rows, in the tables of 1.2 to 1.x and in those of 2.x."""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gtftd.town.jsonl import parse
from gtftd.town.opencode_second import as_first

SESSION_ID_START = "ses_"
_BUSY_S = 2.0
_ROWS = 1_000_000
"""More messages or parts than a session has."""
_STEPS = 200_000_000
"""Instructions of SQLite's machine after which a query is given up: a database may hold views of anybody's making."""
_SESSIONS = ("session_v2", "session")
"""2.x renames the table; where both are there, the second is what was left behind."""


@dataclass(frozen=True)
class Held:
    """Objects of one session as they are kept, in order: itself, its messages, and the parts of each message."""

    session: Mapping[str, object]
    messages: tuple[Mapping[str, object], ...]
    parts: Mapping[str, tuple[Mapping[str, object], ...]]


@dataclass(frozen=True)
class Mark:
    """A session's content at one moment: equal marks, equal content."""

    digest: str
    size_bytes: int
    written_at: float


@dataclass(frozen=True)
class Listed:
    """A session of the store that is nobody's sub-session."""

    session_id: str
    path: Path
    directory: str
    version: str | None
    created_ms: object


def list_database(path: Path, since: float, limit: int) -> list[Listed]:
    """Sessions that were touched after `since`, the latest first. Raises OSError."""
    found: dict[str, Listed] = {}
    with connect(path) as database:
        for table in _present(database, _SESSIONS):
            sql = f"SELECT id, directory, version, time_created FROM {table} WHERE parent_id IS NULL"
            sql += " AND time_updated >= ? ORDER BY time_updated DESC LIMIT ?"
            for ident, directory, version, created in database.execute(sql, (int(since * 1000), limit)):
                session, place = _text(ident), _text(directory)
                if session.startswith(SESSION_ID_START) and "/" not in session and len(session) <= 128 and place:
                    one = Listed(session, path / session, place, _text(version) or None, created)
                    found.setdefault(session, one)
    return list(found.values())


def has_session(path: Path, session_id: str) -> bool:
    """Whether the database holds it; False too when it cannot be read."""
    try:
        with connect(path) as database:
            return _session_table(database, session_id) is not None
    except OSError:
        return False


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, and trusts nothing in the file. Every error of SQLite is an OSError."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such database", str(path))
    steps = 0

    def give_up() -> int:
        nonlocal steps
        steps += 100_000
        return 1 if steps > _STEPS else 0

    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as database:
            database.execute("PRAGMA query_only = ON")
            database.execute("PRAGMA trusted_schema = OFF")
            database.text_factory = bytes
            database.set_progress_handler(give_up, 100_000)
            database.execute("BEGIN")  # one moment for all that is read
            yield database
    except (sqlite3.Error, UnicodeError) as error:
        raise OSError(errno.EIO, f"the database cannot be read ({type(error).__name__})", str(path)) from error


def hold_rows(database: sqlite3.Connection, session_id: str, problems: Counter[str], max_bytes: int) -> Held:
    """All of a session. Raises OSError when it is not there."""
    table = _session_table(database, session_id)
    if table is None:
        raise FileNotFoundError(errno.ENOENT, "the database holds no such session", session_id)
    sql = f"SELECT directory, version, parent_id, revert FROM {table} WHERE id = ?"
    directory, version, parent, revert = database.execute(sql, (session_id,)).fetchone()
    session: dict[str, object] = {"directory": _text(directory), "version": _text(version)}
    if parent:
        session["parentID"] = _text(parent)
    if isinstance(revert, bytes):
        session["revert"] = parse(revert, Counter())
    parts: dict[str, tuple[Mapping[str, object], ...]] = {}
    messages: list[Mapping[str, object]] = []
    if _message_tables(database, table, session_id) == _SECOND:
        for ident, data, kind in _rows(database, "session_message", session_id, problems, max_bytes):
            message, parts[ident] = as_first(ident, kind, data)
            messages.append(message)
        return Held(session, tuple(messages), parts)
    for ident, data, _ in _rows(database, "message", session_id, problems, max_bytes):
        messages.append(dict(data) | {"id": ident})
    below: dict[str, list[Mapping[str, object]]] = {}
    for ident, data, of in _rows(database, "part", session_id, problems, max_bytes):
        below.setdefault(of, []).append(dict(data) | {"id": ident})
    return Held(session, tuple(messages), {of: tuple(found) for of, found in below.items()})


def mark_rows(database: sqlite3.Connection, session_id: str) -> Mark | None:
    """Counts, times and lengths: a row that is written anew has a new time, or, within a millisecond, a new length."""
    session_table = _session_table(database, session_id)
    if session_table is None:
        return None
    sql = f"SELECT time_updated, revert FROM {session_table} WHERE id = ?"
    said: list[object] = [session_table, *database.execute(sql, (session_id,)).fetchone()]
    size, latest = 0, said[1] if isinstance(said[1], int) else 0
    for table in _message_tables(database, session_table, session_id):
        sql = f"SELECT count(*), max(time_updated), sum(time_updated), sum(length(data)) FROM {table}"
        row = database.execute(f"{sql} WHERE session_id = ?", (session_id,)).fetchone()
        said += [table, *row]
        size += row[3] if isinstance(row[3], int) else 0
        latest = max(latest, row[1] if isinstance(row[1], int) else 0)
    return Mark(hashlib.sha256(repr(said).encode()).hexdigest(), size, latest / 1000)


_SELECT = {
    "message": "SELECT id, CASE WHEN length(data) <= ? THEN data END, '' FROM message "
    "WHERE session_id = ? ORDER BY time_created, id LIMIT ?",
    "part": "SELECT id, CASE WHEN length(data) <= ? THEN data END, message_id FROM part "
    "WHERE session_id = ? ORDER BY message_id, id LIMIT ?",
    "session_message": "SELECT id, CASE WHEN length(data) <= ? THEN data END, type FROM session_message "
    "WHERE session_id = ? ORDER BY seq LIMIT ?",
}
_FIRST, _SECOND = ("message", "part"), ("session_message",)


def _present(database: sqlite3.Connection, names: tuple[str, ...]) -> tuple[str, ...]:
    there = {
        _text(row[0]) for row in database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    }
    return tuple(name for name in names if name in there)


def _session_table(database: sqlite3.Connection, session_id: str) -> str | None:
    for table in _present(database, _SESSIONS):
        if database.execute(f"SELECT 1 FROM {table} WHERE id = ?", (session_id,)).fetchone():
            return table
    return None


def _message_tables(database: sqlite3.Connection, session_table: str, session_id: str) -> tuple[str, ...]:
    """Where the session's messages are: late 1.x writes both kinds of tables, and its own are the first."""
    order = (_SECOND, _FIRST) if session_table == "session_v2" else (_FIRST, _SECOND)
    for tables in order:
        sql = f"SELECT 1 FROM {tables[0]} WHERE session_id = ? LIMIT 1"
        if _present(database, tables) == tables and database.execute(sql, (session_id,)).fetchone():
            return tables
    return _present(database, order[0])


def _rows(
    database: sqlite3.Connection, table: str, session_id: str, problems: Counter[str], max_bytes: int
) -> Iterator[tuple[str, dict[str, object], str]]:
    for ident, data, message in database.execute(_SELECT[table], (max_bytes, session_id, _ROWS)):
        if not isinstance(data, bytes):
            problems["too_long" if data is None else "not_json"] += 1
            continue
        loaded = parse(data, problems)
        if loaded is not None:
            yield _text(ident), loaded, _text(message)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
