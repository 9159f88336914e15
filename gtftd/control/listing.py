"""Stored entries as rows of `state.db`: for the verb `entries`, and for gtftctl without a daemon."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from gtftd.errors import Corrupt, Missing
from gtftd.schemas.control import EntriesParams, EntriesResult, EntryRow
from gtftd.state.database import open_reader
from gtftd.state.files import content_path

_COLUMNS = (
    "entry_id, sha256, role, rig, bead, episode, session_id, actor, agent, model, outcome, confidence, "
    "messages, redactions, size_bytes, stored_at"
)


def entries_folder(state_dir: Path) -> Path:
    """Where `gtftd.corpus.EntryStore` keeps them."""
    return state_dir / "entries"


def read_entries(state_dir: Path, params: EntriesParams) -> EntriesResult:
    """For programs beside the daemon, and without one. Missing when no daemon has ever run here."""
    database = state_dir / "state.db"
    if not database.is_file():
        raise Missing(f"{state_dir} holds no state of a gtftd; has one ever run for this town?")
    try:
        with contextlib.closing(open_reader(database)) as connection:
            return list_entries(connection, params, entries_folder(state_dir))
    except sqlite3.Error as error:
        raise Corrupt(f"cannot read {database}: {error}") from error


def list_entries(connection: sqlite3.Connection, params: EntriesParams, folder: Path) -> EntriesResult:
    """The newest that match, newest first; `total` counts all that match."""
    where, values = _conditions(params)
    (total,) = connection.execute(f"SELECT count(*) FROM entries{where}", values).fetchone()
    cursor = connection.execute(
        f"SELECT {_COLUMNS} FROM entries{where} ORDER BY stored_at DESC, entry_id LIMIT ?", (*values, params.limit)
    )
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    entries = tuple(
        EntryRow(**row, path=str(content_path(folder / "objects", row["sha256"], suffix=".json"))) for row in rows
    )
    return EntriesResult(folder=str(folder), total=total, entries=entries)


def _conditions(params: EntriesParams) -> tuple[str, tuple[str, ...]]:
    chosen = {"role": params.role, "rig": params.rig, "bead": params.bead}
    given = {name: value for name, value in chosen.items() if value is not None}
    parts = [f"{name} = ?" for name in given]
    values = list(given.values())
    if params.entry_id is not None:
        parts.append("substr(entry_id, 1, length(?)) = ?")
        values += [params.entry_id, params.entry_id]
    return (" WHERE " + " AND ".join(parts) if parts else ""), tuple(values)
