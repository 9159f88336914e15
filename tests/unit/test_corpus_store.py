"""Entries on disk: a row always names a whole file, and each change of a row is told once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gtftd.corpus import EntryStore
from gtftd.corpus.store import Stored
from gtftd.errors import Corrupt, Missing
from gtftd.schemas.corpus import Entry, Message, Outcome
from gtftd.scrub.sealed import stored as stored_entry
from gtftd.state import Database, Outbox

_PUT = """
import asyncio, sys
from pathlib import Path
from gtftd.scrub.sealed import stored as stored_entry
from tests.unit.test_corpus_store import entry, opened
async def main():
    database, store = opened(Path(sys.argv[1]))
    await store.put(stored_entry(entry(sys.argv[2])))
    database.close()
asyncio.run(main())
"""


def entry(said: str, label: str = "completed") -> Entry:
    outcome = Outcome.model_validate({"label": label, "confidence": 0.5})
    return Entry(
        entry_id="e-1", role="mayor", session_id="s", source="claude-code", cut="all", outcome=outcome,
        messages=(Message(role="assistant", content=said),), scrubber="1",
    )  # fmt: skip


def opened(state: Path) -> tuple[Database, EntryStore]:
    database = Database.open(state / "state.db")
    store = EntryStore(database, state / "entries", Outbox(database, prefix="gtftd", source="test"))
    store.prepare()
    return database, store


def files(store: EntryStore) -> set[str]:
    return {path.stem for path in store.objects.glob("*/*")}


async def test_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    database, store = opened(tmp_path)
    first, same, second = [await store.put(stored_entry(entry(said))) for said in ("a", "a", "b")]
    outbox = Outbox(database, prefix="gtftd", source="test")
    told = [json.loads(row.body)["data"] for row in await outbox.head()]
    withdrawn = await store.withdraw(["e-1", "e-2"])
    subjects = [row.subject for row in await outbox.head()]
    database.close()
    assert Stored(first.sha256, changed=False, previous=None) == same
    assert [(first.sha256, None), (second.sha256, first.sha256)] == [(d["sha256"], d["previous_sha256"]) for d in told]
    assert [second.sha256] == [row.sha256 for row in withdrawn]
    assert "gtftd.fact.entry.withdrawn" == subjects[-1]
    assert (3, set()) == (len(subjects), files(store))


async def test_reading_notices_what_was_changed_or_removed(tmp_path: Path) -> None:
    database, store = opened(tmp_path)
    stored = await store.put(stored_entry(entry("a")))
    database.close()
    assert entry("a") == store.read(stored.sha256)
    store.path(stored.sha256).write_bytes(b"{}")
    with pytest.raises(Corrupt):
        store.read(stored.sha256)
    store.path(stored.sha256).unlink()
    with pytest.raises(Missing):
        store.read(stored.sha256)


@pytest.mark.parametrize("point", ["file.synced", "entry.written", "entry.recorded"])
async def test_a_kill_anywhere_leaves_the_old_entry_or_the_new(tmp_path: Path, point: str) -> None:
    """After the next start every file has its row, and the fact of a change is there if the change is."""
    database, store = opened(tmp_path)
    old = await store.put(stored_entry(entry("old")))
    database.close()
    command = [sys.executable, "-c", _PUT, str(tmp_path), "new"]
    killed = subprocess.run(command, env=os.environ | {"GTFTD_CRASH_AT": point}, check=False, timeout=60)
    assert -signal.SIGKILL == killed.returncode
    database, store = opened(tmp_path)
    await store.tidy()
    (row,) = await store.newest()
    facts = await Outbox(database, prefix="gtftd", source="test").size()
    assert {row.sha256} == files(store)
    assert (point == "entry.recorded") == (row.sha256 != old.sha256) == (facts == 2)
    await store.put(stored_entry(entry("new")))
    assert 2 == await Outbox(database, prefix="gtftd", source="test").size()
    assert {(await store.newest())[0].sha256} == files(store)
    database.close()
