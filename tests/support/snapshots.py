"""A corpus on disk without a daemon: rows and contents as the store writes them, many at a time."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from gtftd.corpus.store import encode
from gtftd.corpus.texts import by_reference, references
from gtftd.schemas.corpus import Entry, Message, Outcome, ToolCall
from gtftd.schemas.settings import SettingsModel
from gtftd.state.database import migrate

START = datetime(2026, 10, 1, tzinfo=UTC)
EASY = {"min_supervised_tokens": 1, "min_role_entries": 1, "workers": 1}
MERGED = Outcome(label="merged", confidence=0.9)
REJECTED = Outcome(label="rejected", confidence=0.9)
_WORDS = [f"{a}{b}{c}" for a in "bdfglmnprst" for b in "aeiou" for c in ("n", "lk", "rt", "x", "mp")]


def say(seed: object, count: int = 60) -> str:
    """The same words for the same seed; two seeds share no long phrase."""
    return " ".join(Random(str(seed)).choices(_WORDS, k=count))


def ask(text: str) -> Message:
    return Message(role="user", content=text)


def act(text: str = "", command: str | None = None, call: str = "c1", **fields: Any) -> Message:
    calls = (ToolCall(id=call, name="Bash", arguments={"command": command}),) if command is not None else ()
    return Message(**{"role": "assistant", "content": text, "tool_calls": calls, "trainable": True} | fields)


def answer(text: str, call: str = "c1") -> Message:
    return Message(role="tool", content=text, tool_call_id=call)


def entry(number: int, **changes: Any) -> Entry:
    """One session about one bead, each by a polecat of its own, a day apart."""
    at = START + timedelta(days=number)
    fields: dict[str, Any] = {
        "entry_id": f"e{number:05d}", "origin": f"session:s{number}", "role": "polecat", "rig": "gastown",
        "bead": f"gt-{number}", "session_id": f"s{number}", "actor": f"gastown/polecats/p{number}",
        "source": "claude-code", "started_at": at, "ended_at": at + timedelta(hours=1), "outcome": MERGED,
        "scrubber": "1", "messages": (ask(say(("ask", number), 12)), act(say(number))),
    }  # fmt: skip
    return Entry.model_validate(fields | changes)


def fill(state_dir: Path, entries: Iterable[Entry]) -> dict[str, str]:
    """Store entries, replacing those of the same id and their files; sha256 by entry id."""
    state_dir.mkdir(parents=True, exist_ok=True)
    file = state_dir / "state.db"
    migrate(file)
    connection = sqlite3.connect(file)
    try:
        with connection:
            return {one.entry_id: _put(connection, state_dir, one) for one in entries}
    finally:
        connection.close()


def withdraw(state_dir: Path, entry_id: str) -> None:
    connection = sqlite3.connect(state_dir / "state.db")
    try:
        with connection:
            (old,) = connection.execute("SELECT sha256 FROM entries WHERE entry_id = ?", (entry_id,)).fetchone()
            for table in ("entries", "entry_texts"):
                connection.execute(f"DELETE FROM {table} WHERE entry_id = ?", (entry_id,))
    finally:
        connection.close()
    _file(state_dir / "entries" / "objects", old, ".json").unlink()


def execute(state_dir: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(state_dir / "state.db")
    try:
        with connection:
            connection.execute(sql, values)
    finally:
        connection.close()


def settings(*rigs: str, **changes: Any) -> SettingsModel:
    """Gates wide open, one process, these rigs sharing."""
    return SettingsModel.model_validate({"sharing": {"rigs": rigs}, "snapshots": EASY | changes})


def _put(connection: sqlite3.Connection, state_dir: Path, one: Entry) -> str:
    one, texts = by_reference(one)
    for digest, text in texts.items():
        _write(state_dir / "entries" / "texts", digest, ".txt", text)
    content = encode(one)
    digest = hashlib.sha256(content).hexdigest()
    _write(state_dir / "entries" / "objects", digest, ".json", content)
    old = connection.execute("SELECT sha256 FROM entries WHERE entry_id = ?", (one.entry_id,)).fetchone()
    row = _row(one, digest, len(content))
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO entries ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    connection.execute("DELETE FROM entry_texts WHERE entry_id = ?", (one.entry_id,))
    refs = [(one.entry_id, ref) for ref in sorted(references(one))]
    connection.executemany("INSERT INTO entry_texts VALUES (?, ?)", refs)
    if old and old[0] != digest:
        _file(state_dir / "entries" / "objects", old[0], ".json").unlink(missing_ok=True)
    return digest


def _row(one: Entry, digest: str, size: int) -> dict[str, object]:
    same = ("entry_id", "kind", "origin", "source", "role", "rig", "bead", "episode", "session_id", "actor", "agent",
            "model", "task", "scrubber")  # fmt: skip
    return {name: getattr(one, name) for name in same} | {
        "sha256": digest, "outcome": one.outcome.label, "confidence": one.outcome.confidence,
        "messages": len(one.messages), "trainable": sum(message.trainable for message in one.messages),
        "redactions": 0, "size_bytes": size, "stored_at": START.timestamp(),
        "started_at": one.started_at.timestamp() if one.started_at else None,
        "ended_at": one.ended_at.timestamp() if one.ended_at else None,
    }  # fmt: skip


def _write(folder: Path, digest: str, suffix: str, content: bytes) -> None:
    path = _file(folder, digest, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _file(folder: Path, digest: str, suffix: str) -> Path:
    return folder / digest[:2] / f"{digest}{suffix}"
