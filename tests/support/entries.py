"""Entries of every kind in a state directory, stored as the daemon stores them; no daemon runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gtftd.corpus import EntryStore
from gtftd.schemas.corpus import Conventions, Entry, Fact, Message, Outcome, ToolCall
from gtftd.scrub.sealed import stored as stored_entry
from gtftd.state import Database, Outbox

AT = datetime(2026, 11, 21, 22, 27, 9, tzinfo=UTC)
MERGED = Outcome(
    label="merged", confidence=0.95, evidence=(Fact(kind="merged", detail="Merged in gt-mr-1", at=AT),)
)  # fmt: skip
REJECTED = Outcome(label="rejected", confidence=0.8, failures=("broke_tests",))


def session(number: int = 0, **changes: Any) -> Entry:
    """One span of a polecat's session: a turn to learn from, one that failed, and what the tools said."""
    call = ToolCall(id="1", name="Bash", arguments={"command": "bd sync"})
    fields: dict[str, Any] = {
        "entry_id": f"{number}abcdef-0000",
        "origin": "session:0123456789",
        "role": "polecat",
        "rig": "gastown",
        "bead": f"gt-{number}",
        "session_id": "0123456789",
        "source": "claude-code",
        "task": "implementation",
        "cut": "all",
        "started_at": AT,
        "outcome": MERGED,
        "conventions": Conventions(instructions="ab" * 32, gt_version="0.9.1"),
        "messages": (
            Message(role="user", content="Begin.", at=AT),
            Message(role="assistant", content="done", trainable=True, at=AT),
            Message(role="assistant", tool_calls=(call,), masked="stale", violations=("bd-sync",), at=AT),
            Message(role="tool", content="unknown command", tool_call_id="1", is_error=True, at=AT),
        ),
        "redactions": {"HOME": 2},
        "scrubber": "1",
    }
    return Entry(**fields | changes)


def artifact(path: str = "gastown/CLAUDE.md", **changes: Any) -> Entry:
    """A document of the town; nobody is trained on it."""
    fields: dict[str, Any] = {
        "entry_id": f"d0c-{path}",
        "kind": "artifact",
        "origin": f"file:{path}",
        "role": "all",
        "task": "document",
        "source": "file",
        "outcome": Outcome(label="collected", confidence=1.0),
        "messages": (Message(role="system", content="# Rules"),),
        "redactions": {"USER": 1},
        "scrubber": "1",
    }
    return Entry(**fields | changes)


@asynccontextmanager
async def opened(state_dir: Path) -> AsyncIterator[tuple[Database, EntryStore]]:
    database = Database.open(state_dir / "state.db")
    try:
        store = EntryStore(database, state_dir / "entries", Outbox(database, prefix="gtftd", source="test"))
        store.prepare()
        yield database, store
    finally:
        database.close()


async def store_all(state_dir: Path, entries: Iterable[Entry]) -> list[Path]:
    """Put them there; their files."""
    async with opened(state_dir) as (_, store):
        return [store.path((await store.put(stored_entry(entry))).sha256) for entry in entries]
