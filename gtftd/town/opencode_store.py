"""Where OpenCode keeps a session: folders of JSON files (up to 1.1), or tables of one SQLite file (1.2 to 1.x).

A session is named by one path: that of its own file, `storage/session/<project>/<session>.json`, or, in a
database, `<database>/<session>`, which is no file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gtftd.town.jsonl import parse

SESSION_ID_START = "ses_"
_BUSY_S = 2.0
_HEAD_BYTES = 1024 * 1024
_ROWS = 1_000_000
"""More messages or parts than a session has."""
_STEPS = 200_000_000
"""Instructions of SQLite's machine after which a query is given up: a database may hold views of anybody's making."""


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


def in_files(path: Path) -> bool:
    """Whether the path names a session kept in JSON files."""
    is_named = path.suffix == ".json" and path.stem.startswith(SESSION_ID_START)
    return is_named and path.parts[-4:-2] == ("storage", "session")


def in_database(path: Path) -> bool:
    """Whether the path names a session kept in a database."""
    return path.name.startswith(SESSION_ID_START) and path.parent.suffix == ".db" and not path.suffix


def hold(path: Path, problems: Counter[str], max_bytes: int) -> Held:
    """Read all of a session. Raises OSError. What is broken or too long is counted and left out."""
    if in_files(path):
        return _hold_files(path, problems, max_bytes)
    with connect(path.parent) as database:
        return _hold_rows(database, path.name, problems, max_bytes)


def mark(path: Path) -> Mark | None:
    """What the session is like now, without reading it; None when it is not there."""
    try:
        if in_files(path):
            return _mark_files(path)
        with connect(path.parent) as database:
            return _mark_rows(database, path.name)
    except OSError:
        return None


def databases(folder: Path, named: Path | None = None) -> list[Path]:
    """`opencode.db`, those of other release channels, and the one that is named."""
    found = [*folder.glob("opencode*.db"), *([named] if named else [])]
    return sorted({path for path in found if path.is_file()})


def session_files(folder: Path) -> Iterator[Path]:
    yield from (folder / "storage" / "session").glob(f"*/{SESSION_ID_START}*.json")


def list_database(path: Path, since: float, limit: int) -> list[Listed]:
    """Sessions that were touched after `since`, the latest first. Raises OSError."""
    sql = """
        SELECT id, directory, version, time_created FROM session
        WHERE parent_id IS NULL AND time_updated >= ? ORDER BY time_updated DESC LIMIT ?
    """
    found = []
    with connect(path) as database:
        for ident, directory, version, created in database.execute(sql, (int(since * 1000), limit)):
            session, place = _text(ident), _text(directory)
            if session.startswith(SESSION_ID_START) and "/" not in session and len(session) <= 128 and place:
                found.append(Listed(session, path / session, place, _text(version) or None, created))
    return found


def read_head(path: Path) -> Mapping[str, object] | None:
    """The session's own file, where it is kept in files. Raises OSError."""
    with path.open("rb") as file:
        return parse(file.read(_HEAD_BYTES), Counter())


def has_session(path: Path, session_id: str) -> bool:
    """Whether the database holds it; False too when it cannot be read."""
    try:
        with connect(path) as database:
            return database.execute("SELECT 1 FROM session WHERE id = ?", (session_id,)).fetchone() is not None
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


def _hold_files(path: Path, problems: Counter[str], max_bytes: int) -> Held:
    storage = path.parents[2]
    session = _load(path, problems, max_bytes) or {}
    messages, parts = [], {}
    for file in _names(storage / "message" / path.stem):
        message = _load(file, problems, max_bytes)
        if message is None:
            continue
        messages.append(dict(message) | {"id": file.stem})
        below = [(part, _load(part, problems, max_bytes)) for part in _names(storage / "part" / file.stem)]
        parts[file.stem] = tuple(dict(held) | {"id": part.stem} for part, held in below if held is not None)
    return Held(session, tuple(sorted(messages, key=_order)), parts)


def _hold_rows(database: sqlite3.Connection, session_id: str, problems: Counter[str], max_bytes: int) -> Held:
    sql = "SELECT directory, version, parent_id, revert FROM session WHERE id = ?"
    row = database.execute(sql, (session_id,)).fetchone()
    if row is None:
        raise FileNotFoundError(errno.ENOENT, "the database holds no such session", session_id)
    directory, version, parent, revert = row
    session: dict[str, object] = {
        "directory": _text(directory),
        "version": _text(version),
    }
    if parent:
        session["parentID"] = _text(parent)
    if isinstance(revert, bytes):
        session["revert"] = parse(revert, Counter())
    messages = []
    for ident, data, _ in _rows(database, "message", session_id, problems, max_bytes):
        messages.append(dict(data) | {"id": ident})
    parts: dict[str, list[Mapping[str, object]]] = {}
    for ident, data, message in _rows(database, "part", session_id, problems, max_bytes):
        parts.setdefault(message, []).append(dict(data) | {"id": ident})
    return Held(session, tuple(messages), {message: tuple(found) for message, found in parts.items()})


_SELECT = {
    "message": "SELECT id, CASE WHEN length(data) <= ? THEN data END, '' FROM message "
    "WHERE session_id = ? ORDER BY time_created, id LIMIT ?",
    "part": "SELECT id, CASE WHEN length(data) <= ? THEN data END, message_id FROM part "
    "WHERE session_id = ? ORDER BY message_id, id LIMIT ?",
}


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


def _mark_files(path: Path) -> Mark:
    """One stat a file: a session of a thousand steps has some thousand files."""
    storage = path.parents[2]
    digest = hashlib.sha256()
    size, latest = 0, 0.0
    files = [path, *_names(storage / "message" / path.stem)]
    for file in [*files, *(part for message in files[1:] for part in _names(storage / "part" / message.stem))]:
        try:
            status = file.stat()
        except FileNotFoundError:
            if file == path:
                raise
            continue
        digest.update(
            f"{file.name}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace")
        )
        size += status.st_size
        latest = max(latest, status.st_mtime)
    return Mark(digest.hexdigest(), size, latest)


def _mark_rows(database: sqlite3.Connection, session_id: str) -> Mark | None:
    """Counts, times and lengths: a row that is written anew has a new time, or, within a millisecond, a new length."""
    head = database.execute("SELECT time_updated, revert FROM session WHERE id = ?", (session_id,)).fetchone()
    if head is None:
        return None
    said: list[object] = list(head)
    size, latest = 0, int(head[0]) if isinstance(head[0], int) else 0
    for table in _SELECT:
        sql = f"SELECT count(*), max(time_updated), sum(time_updated), sum(length(data)) FROM {table}"
        row = database.execute(f"{sql} WHERE session_id = ?", (session_id,)).fetchone()
        count, newest, times, length = row
        said += [count, newest, times, length]
        size += length if isinstance(length, int) else 0
        latest = max(latest, newest if isinstance(newest, int) else 0)
    return Mark(hashlib.sha256(repr(said).encode()).hexdigest(), size, latest / 1000)


def _load(path: Path, problems: Counter[str], max_bytes: int) -> dict[str, object] | None:
    """A file as an object; one that is half written counts as `not_json`, one that went away as nothing."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None
    if len(content) > max_bytes:
        problems["too_long"] += 1
        return None
    return parse(content, problems)


def _names(folder: Path) -> list[Path]:
    """The JSON files of a folder by name: OpenCode's ids grow with time."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".json") and not entry.name.startswith(".")]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _order(message: Mapping[str, object]) -> tuple[float, str]:
    time = message.get("time")
    created = time.get("created") if isinstance(time, dict) else None
    known = isinstance(created, int | float) and not isinstance(created, bool)
    return (float(created) if known and created is not None else 0.0, str(message.get("id")))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
