"""What is on record of sessions and their ends, whoever told it first."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gtftd.corpus import Evidence
from gtftd.schemas.town import BeadClosed, SessionEnded, SessionStarted
from gtftd.state import Database
from tests.support.transcripts import START


@pytest.fixture
async def evidence(tmp_path: Path) -> AsyncIterator[Evidence]:
    database = Database.open(tmp_path / "state.db")
    try:
        yield Evidence(database)
    finally:
        database.close()


def start(session: str, second: float, seen_by: str = "hook", **more: object) -> SessionStarted:
    said = {
        "session_id": session,
        "at": START + timedelta(seconds=second),
        "seen_by": seen_by,
        "tmux_session": "ha-nux",
    }
    return SessionStarted.model_validate(said | more)


def end(second: float, session: str | None = None, **more: object) -> SessionEnded:
    tmux = None if session else "ha-nux"
    said = {"session_id": session, "tmux_session": tmux, "at": START + timedelta(seconds=second), "seen_by": "feed"}
    return SessionEnded.model_validate(said | more)


async def ended_at(evidence: Evidence, session: str) -> float | None:
    found = await evidence.session(session)
    assert found is not None
    return (found.ended_at - START).total_seconds() if found.ended_at else None


async def test_a_death_by_tmux_name_is_the_last_sessions(evidence: Evidence) -> None:
    for event in (start("a", 0), start("b", 100)):
        await evidence.add_session(event)
    assert {"a", "b"} == set(await evidence.add_end(end(150, reason="crash", died=True)))
    assert (None, 150) == (await ended_at(evidence, "a"), await ended_at(evidence, "b"))


async def test_an_end_moves_when_a_later_session_becomes_known(evidence: Evidence) -> None:
    await evidence.add_end(end(150))
    await evidence.add_session(start("a", 0))
    assert 150 == await ended_at(evidence, "a")
    assert {"a", "b"} == set(await evidence.add_session(start("b", 100)))
    assert (None, 150) == (await ended_at(evidence, "a"), await ended_at(evidence, "b"))


async def test_a_resumed_session_goes_on(evidence: Evidence) -> None:
    await evidence.add_session(start("a", 0))
    await evidence.add_end(end(50, "a"))
    await evidence.add_session(start("a", 80, start="resume"))
    assert None is await ended_at(evidence, "a")
    await evidence.add_end(end(90, "a"))
    assert 90 == await ended_at(evidence, "a")


async def test_the_best_source_wins_and_the_others_fill_in(tmp_path: Path) -> None:
    told = [
        start("a", 0.4, role="polecat", rig="harbor", agent="claude", cwd=None),
        start("a", 0, "feed", role="crew", actor="harbor/crew/max", cwd="/t/x", tmux_session=None),
        start("a", 2, "sweep", cwd="/t/y", transcript_path="/t/a.jsonl"),
    ]
    found = []
    for number, order in enumerate(itertools.permutations(told)):
        database = Database.open(tmp_path / f"{number}.db")
        for event in order:
            await Evidence(database).add_session(event)
        found.append(await Evidence(database).session("a"))
        database.close()
    assert found[0] is not None
    assert [found[0]] * 6 == found
    first = found[0]
    assert ("polecat", "harbor/crew/max", "/t/x") == (first.role, first.actor, first.cwd)
    assert ("/t/a.jsonl", START) == (first.transcript_path, first.started_at)


async def test_a_session_with_a_bead_on_its_hook_was_given_it(evidence: Evidence) -> None:
    """When nobody told of an assignment; the close then finds the session by it."""
    await evidence.add_session(start("a", 0, actor="harbor/polecats/nux", work_bead="hb-1"))
    close = BeadClosed(at=START + timedelta(hours=1), seen_by="sweep", database="harbor", bead="hb-1")
    await evidence.add_close(close)
    known = await evidence.of_session("a")
    assert known is not None
    assert [("hb-1", "harbor/polecats/nux", "assigned")] == [(c.bead, c.actor, c.change) for c in known.changes]
    assert ["a"] == [session.session_id for session in await evidence.sessions_of_bead("hb-1")]


async def test_an_end_of_an_unknown_session_does_not_make_one(evidence: Evidence) -> None:
    """So the sweep still finds its transcript, and who it was."""
    await evidence.add_end(end(50, "a"))
    assert None is await evidence.session("a")
    await evidence.add_session(start("a", 0, "sweep"))
    assert 50 == await ended_at(evidence, "a")


async def test_an_end_in_the_second_of_the_start_is_the_older_sessions(evidence: Evidence) -> None:
    """Gt rounds down: the first session in a terminal may die at once, a later one began because another ended."""
    await evidence.add_session(start("b", 10.2))
    await evidence.add_end(end(10 - START.microsecond / 1e6, died=True))
    assert await ended_at(evidence, "b") is not None
    assert "b" in await evidence.add_session(start("a", 0))
    assert None is await ended_at(evidence, "b")
    assert await ended_at(evidence, "a") is not None
