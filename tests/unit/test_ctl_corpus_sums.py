"""What corpus stats and explain gather from files: closed beads, lines of transcripts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gtftd.ctl.corpus_origins import lines_said_at
from gtftd.ctl.corpus_sums import read_labels
from gtftd.schemas.corpus import Fact, Outcome
from tests.support.entries import artifact, opened, session, store_all

AT = datetime(2026, 11, 21, 22, 27, 9, 500_000, tzinfo=UTC)


async def test_closed_beads_are_counted_once(tmp_path: Path) -> None:
    """A close that was seen, or a document of a bead's life that says so; its label goes before the sessions'."""
    stale = Outcome(label="administrative", confidence=0.8, evidence=(Fact(kind="close_reason", detail="stale: gone"),))
    still_open = Outcome(label="unknown", confidence=0.5, evidence=(Fact(kind="not_closed"),))
    lives = [("gt-1", stale), ("gt-2", still_open), ("gt-9", stale)]
    told = [session(0)]
    for bead, outcome in lives:
        origin = f"bead:gastown/{bead}"
        told.append(
            artifact(bead, entry_id=f"life-{bead}", kind="operational", origin=origin, bead=bead, outcome=outcome)
        )
    await store_all(tmp_path, told)
    async with opened(tmp_path) as (database, _):
        closes = [(bead, 1, "gastown", 1.0, None, None, bead, "task") for bead in ("gt-0", "gt-1", "gt-3")]
        await database.write(lambda c: c.executemany("INSERT INTO closes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", closes))
        said = ("gt-0", 1, 1.0, "Merged in gt-mr-1")
        await database.write(lambda c: c.execute("INSERT INTO close_reasons VALUES (?, ?, ?, ?)", said))
    found = read_labels(tmp_path)
    assert (4, 1) == (found.closed, found.unlabelled)
    assert {"merged_request": {"merged": 1}, "stale": {"administrative": 2}} == found.counts
    assert () == found.notes


async def test_who_sends_work_back_has_done_its_own(tmp_path: Path) -> None:
    """The table says so, or it would look like a mistake."""
    facts = (Fact(kind="close_reason", detail="rejected by who decides"),)
    life = artifact(
        "gt-1",
        entry_id="life-gt-1",
        kind="operational",
        origin="bead:gastown/gt-1",
        bead="gt-1",
        outcome=Outcome(label="completed", confidence=0.5, evidence=facts),
    )
    await store_all(tmp_path, [life])
    async with opened(tmp_path) as (database, _):
        said = ("gt-1", 1, 1.0, "Rejected: tests fail")
        await database.write(lambda c: c.execute("INSERT INTO close_reasons VALUES (?, ?, ?, ?)", said))
    found = read_labels(tmp_path)
    assert ({"rejected": {"completed": 1}}, 1) == (found.counts, len(found.notes))


def test_turns_are_found_in_their_transcript(tmp_path: Path) -> None:
    """The first line with the time of the turn, however the time is written; text that quotes one is no line."""
    file = tmp_path / "session.jsonl"
    stamps = ["2026-11-21T22:27:09.500Z", "2026-11-21T22:27:10.500+00:00", "2026-11-21T22:27:09.500Z", "never"]
    quoting = {"type": "user", "message": '{"timestamp":"2026-11-21T22:27:11.500Z"}'}
    lines = [{"type": "user", "timestamp": stamp} for stamp in stamps]
    file.write_text("\n".join(json.dumps(line) for line in [quoting, *lines]) + "\n\xff")
    later = [AT + timedelta(seconds=seconds) for seconds in (0, 1, 2)]
    assert {later[0]: 2, later[1]: 3} == lines_said_at(file, later)
    assert {} == lines_said_at(tmp_path / "none.jsonl", later)
