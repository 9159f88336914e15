"""Stored entries as rows of `state.db`: for the verb `entries`, and for gtftctl without a daemon."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gtftd.errors import Corrupt, Missing, Refused
from gtftd.schemas.corpus_views import EntriesParams, EntriesResult, EntryRow, PurgedEntry
from gtftd.state.database import migrations, open_reader
from gtftd.state.files import content_path

_COLUMNS = (
    "entry_id, sha256, kind, origin, source, role, rig, bead, episode, session_id, actor, agent, model, task, "
    "outcome, confidence, failures, violations, messages, trainable, redactions, size_bytes, stored_at"
)
_EXACT = {
    "kind": "kind",
    "source": "source",
    "role": "role",
    "rig": "rig",
    "bead": "bead",
    "task": "task",
    "label": "outcome",
}
_BEGINNING = {"entry_id": "entry_id", "session": "session_id"}


def entries_folder(state_dir: Path) -> Path:
    """Where `gtftd.corpus.EntryStore` keeps them."""
    return state_dir / "entries"


def entry_path(folder: Path, sha256: str) -> Path:
    return content_path(folder / "objects", sha256, suffix=".json")


def read_entries(state_dir: Path, params: EntriesParams) -> EntriesResult:
    """For programs beside the daemon, and without one. Missing when no daemon has ever run here."""
    with reading(state_dir) as connection:
        return list_entries(connection, params, entries_folder(state_dir))


@contextlib.contextmanager
def reading(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """`state.db`, read-only. Missing when there is none, Refused when it is older than this program."""
    database = state_dir / "state.db"
    if not database.is_file():
        raise Missing(f"{state_dir} holds no state of a gtftd; has one ever run for this town?")
    try:
        with contextlib.closing(open_reader(database)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < (known := migrations()[-1][0]):
                raise Refused(f"{database} has schema version {version}, not {known}; a start of gtftd migrates it")
            yield connection
    except sqlite3.Error as error:
        raise Corrupt(f"cannot read {database}: {error}") from error


def list_entries(connection: sqlite3.Connection, params: EntriesParams, folder: Path) -> EntriesResult:
    """The newest that match, newest first; `total` counts all that match."""
    where, values = _conditions(params)
    found = connection.execute(f"SELECT {_COLUMNS} FROM entries{where} ORDER BY stored_at DESC, entry_id", values)
    names = [column[0] for column in found.description]
    total = 0
    entries: list[EntryRow] = []
    for row in found:
        told = dict(zip(names, row, strict=True))
        path = entry_path(folder, told["sha256"])
        if params.rule is not None and params.rule not in _rules_broken(path):
            continue
        total += 1
        if len(entries) < params.limit:
            told["failures"] = tuple(filter(None, told["failures"].split(",")))
            entries.append(EntryRow(**told, path=str(path)))
        elif params.rule is None:
            (total,) = connection.execute(f"SELECT count(*) FROM entries{where}", values).fetchone()
            break
    return EntriesResult(folder=str(folder), total=total, entries=tuple(entries))


def read_purged(state_dir: Path, begin: str) -> PurgedEntry | None:
    """Who purged the entry whose id begins so, when and why; None for one that was not."""
    sql = "SELECT entry_id, by, at, reason FROM purges WHERE substr(entry_id, 1, length(?)) = ? LIMIT 1"
    with reading(state_dir) as connection:
        row = connection.execute(sql, (begin, begin)).fetchone()
    return None if row is None else PurgedEntry(entry_id=row[0], by=row[1], at=row[2], reason=row[3])


def _conditions(params: EntriesParams) -> tuple[str, tuple[str, ...]]:
    parts, values = [], []
    for name, column in _EXACT.items():
        if (value := getattr(params, name)) is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    for name, column in _BEGINNING.items():
        if (value := getattr(params, name)) is not None:
            parts.append(f"substr({column}, 1, length(?)) = ?")
            values += [value, value]
    if params.rule is not None:
        parts.append("violations > 0")
    return (" WHERE " + " AND ".join(parts) if parts else ""), tuple(values)


def _rules_broken(path: Path) -> set[str]:
    """Rows only count violations; which they were stands in the entry."""
    try:
        messages = json.loads(path.read_bytes()).get("messages", ())
    except (OSError, ValueError):
        return set()
    return {rule for message in messages for rule in message.get("violations", ())}
