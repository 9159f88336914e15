"""New rules reach what is stored already: found, replaced, removed from every byte, told once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from gtftd.corpus.audit import Audit
from gtftd.corpus.store import EntryStore
from gtftd.errors import Missing
from gtftd.schemas.corpus import Entry, Message, Outcome
from gtftd.scrub import Scrubber
from gtftd.scrub.sealed import stored
from gtftd.state import Database, Outbox

SECRET = "correct-horse-battery"  # nothing but the town's own list of secrets says that it is one
BOILERPLATE = "# Rules\n\n" + "Say what you do and do what you say. " * 40 + f"\n\nThe word is {SECRET}.\n"
_RUN = """
import asyncio, sys
from pathlib import Path
from tests.unit.test_corpus_audit import Town
async def main():
    town = Town(Path(sys.argv[1]))
    await town.audit_all()
    town.database.close()
asyncio.run(main())
"""


def entry(number: int, text: str) -> Entry:
    messages = (
        Message(role="user", kind="hook", content=text),
        Message(role="assistant", content=f"I did part {number}.", trainable=True),
    )
    return Entry(
        entry_id=f"e-{number}", role="polecat", session_id=f"s-{number}", source="claude-code", title="The gate",
        outcome=Outcome(label="completed", confidence=0.5), messages=messages, scrubber="old rules",
    )  # fmt: skip


class Town:
    """A store whose scrubber has learned a new secret; `tainted` is what the snapshots were asked to give up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database.open(folder / "state.db")
        self.outbox = Outbox(self.database, prefix="gtftd", source="test")
        self.store = EntryStore(self.database, folder / "entries", self.outbox)
        self.store.prepare()
        self.tainted: list[str] = []
        scrubber = Scrubber({"GATE_WORD": SECRET}, key=b"k" * 32)
        self.audit = Audit(self.database, self.store, self.outbox, lambda: scrubber, self._taint)

    def _taint(self, contents: Collection[str], reason: str) -> list[str]:
        self.tainted += contents
        return ["snapshot-1"]

    async def audit_all(self) -> int:
        """How many entries held something."""
        return [progress async for progress in self.audit.run()][-1].hits

    async def told(self) -> list[dict[str, object]]:
        rows = [row for row in await self.outbox.head(1000) if row.subject.endswith("entry.tainted")]
        return [json.loads(row.body)["data"] for row in rows]

    def places_of_the_secret(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.fixture
async def town(tmp_path: Path) -> Town:
    made = Town(tmp_path)
    await made.store.put(stored(entry(1, BOILERPLATE)))
    await made.store.put(stored(entry(2, "nothing to hide")))
    await made.store.put(stored(entry(3, f"the word is {SECRET}")))
    return made


async def test_a_hit_is_replaced_and_removed_everywhere(town: Town) -> None:
    before = {row.entry_id: row.sha256 for row in await town.store.newest()}
    assert 3 == len(town.places_of_the_secret()) + 1, "one text, one entry"
    assert await town.audit.is_due()
    assert 2 == await town.audit_all()
    after = {row.entry_id: row.sha256 for row in await town.store.newest()}
    shown = town.store.read_whole(after["e-1"])
    told = await town.told()
    due = await town.audit.is_due()
    town.database.close()
    assert [] == town.places_of_the_secret()
    assert before["e-2"] == after["e-2"], "a clean entry keeps its content"
    assert {before["e-1"], before["e-3"]} < set(town.tainted), "contents and the texts they refer to"
    assert "<GATE_WORD:" in shown.messages[0].content
    assert {"GATE_WORD": 1} == shown.redactions
    assert [("e-1", before["e-1"]), ("e-3", before["e-3"])] == [(fact["entry_id"], fact["sha256"]) for fact in told]
    assert not due


async def test_a_second_audit_finds_nothing(town: Town) -> None:
    await town.audit_all()
    hits, told = await town.audit_all(), await town.told()
    everything = [progress async for progress in town.audit.run(only_old=False)][-1]
    town.database.close()
    assert (0, 2) == (hits, len(told))
    assert (3, 3, 0) == (everything.done, everything.total, everything.hits)


@pytest.mark.parametrize("point", ["audit.tainted", "file.synced", "entry.written", "entry.recorded"])
async def test_a_kill_leaves_the_rest_to_the_next_audit(town: Town, point: str) -> None:
    town.database.close()
    child = subprocess.run(
        [sys.executable, "-c", _RUN, str(town.folder)],
        env=os.environ | {"GTFTD_CRASH_AT": point},
        capture_output=True,
        check=False,
    )
    assert -signal.SIGKILL == child.returncode, child.stderr.decode()
    again = Town(town.folder)
    await again.store.tidy()
    await again.audit_all()
    await again.store.tidy()
    told = {str(fact["entry_id"]) for fact in await again.told()}
    again.database.close()
    assert [] == again.places_of_the_secret()
    assert {"e-1", "e-3"} == told


async def test_what_was_purged_stays_away(town: Town) -> None:
    snapshots = await town.audit.purge("e-3", f"it says {SECRET}", by="ada")
    put = await town.store.put(stored(entry(3, "collected once more")))
    rows = await town.store.newest()
    files = {path.stem for path in town.store.objects.glob("*/*")}
    told = await town.told()
    with pytest.raises(Missing, match="no entry e-3"):
        await town.audit.purge("e-3", "again", by="ada")
    town.database.close()
    assert ["snapshot-1"] == snapshots
    assert not put.changed
    assert {"e-1", "e-2"} == {row.entry_id for row in rows}
    assert {row.sha256 for row in rows} == files
    assert "purge" == told[0]["reason"]
    assert SECRET.encode() not in (town.folder / "state.db").read_bytes()
