"""Training jobs: their states, their rows, and the facts that follow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.errors import Conflict, Invalid, Missing, Refused
from gtftd.registry import job_states, jobs
from gtftd.registry.jobs import JobChanges, JobRequest
from gtftd.schemas.registry import JobState, TrainingJobChanged
from gtftd.state.database import migrate

AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
REQUEST = JobRequest("role", "mayor", "Fewer words", "snap-1", {"rank": 16}, "from the spring")
any_state = st.sampled_from(job_states.STATES)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    migrate(tmp_path / "state.db")
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as opened:
        opened.execute("PRAGMA foreign_keys = ON")
        yield opened


def changes(connection: sqlite3.Connection) -> JobChanges:
    return JobChanges(connection, lambda text: text.replace("hunter2", "[gone]"))


def at(minutes: int) -> datetime:
    return AT + timedelta(minutes=minutes)


def dump(connection: sqlite3.Connection) -> list[str]:
    return list(connection.iterdump())


@given(any_state, any_state)
def test_only_what_may_follow_is_let_through(previous: JobState, state: JobState) -> None:
    """`check` says the same as `following`, and names both states when it refuses."""
    if state in job_states.following(previous):
        job_states.check("j", previous, state)
        return
    with pytest.raises(Refused, match=rf"is {previous} and cannot become {state}"):
        job_states.check("j", previous, state)


@given(st.lists(any_state, max_size=40))
def test_a_walk_ends_for_ever(wishes: list[JobState]) -> None:
    """Whatever is wished: it begins with the corpus, may fail until it has ended, and then never changes."""
    state: JobState = job_states.FIRST
    for wish in wishes:
        allowed = job_states.following(state)
        assert (state in job_states.ENDED) == (allowed == frozenset())
        assert state in job_states.ENDED or "failed" in allowed
        assert state not in allowed
        state = wish if wish in allowed else state


def test_every_state_can_be_reached_and_can_end() -> None:
    """No state is a dead end but the two that are meant so, and `done` only comes after an evaluation."""
    reached, edge = {job_states.FIRST}, {job_states.FIRST}
    while edge:
        edge = {after for state in edge for after in job_states.following(state)} - reached
        reached |= edge
    assert set(job_states.STATES) == reached
    assert {"evaluating"} == {state for state in job_states.STATES if "done" in job_states.following(state)}
    for state in ("training", "syncing", "checkpointing", "evaluating"):
        assert "degraded" in job_states.following(state)
    assert frozenset({"training", "evaluating", "failed"}) == job_states.following("degraded")


def test_a_job_is_made_once(connection: sqlite3.Connection) -> None:
    """The same again is the same job; another one of its name is a conflict."""
    one = changes(connection)
    job = one.create(REQUEST, AT, "job-1")
    before = dump(connection)
    assert job == one.create(REQUEST, at(5), "job-1")
    assert before == dump(connection)
    assert job == jobs.read(connection, "job-1")
    assert ("corpus-validating", {"rank": 16}, AT) == (job.state, job.config, job.created_at)
    assert 1 == len(one.facts)
    with pytest.raises(Conflict, match="job-1 is there already"):
        one.create(JobRequest("role", "deacon", "Other"), AT, "job-1")


@pytest.mark.parametrize("id", ["", "a,b", 'a"b', "-x", "a b", "x" * 65, "a\n"])
def test_an_id_fits_into_a_label(connection: sqlite3.Connection, id: str) -> None:
    """`bd` splits labels at commas and quotes, so no such id comes into the world."""
    with pytest.raises(Invalid):
        changes(connection).create(REQUEST, AT, id)


def test_a_series_that_is_none_is_invalid(connection: sqlite3.Connection) -> None:
    with pytest.raises(Invalid, match="job-1"):
        changes(connection).create(JobRequest("role", "Not A Series", "x"), AT, "job-1")


def test_the_same_advance_twice_changes_nothing(connection: sqlite3.Connection) -> None:
    """No row, no intent and no fact more."""
    one = changes(connection)
    one.create(REQUEST, AT, "job-1")
    one.advance("job-1", "ready", at(1), "all there")
    before, facts = dump(connection), list(one.facts)
    assert "ready" == one.advance("job-1", "ready", at(9), "all there").state
    assert (before, facts) == (dump(connection), one.facts)


def test_facts_carry_where_it_came_from(connection: sqlite3.Connection) -> None:
    """One for each change of state, and none for a new note; the same change always has the same id."""
    one = changes(connection)
    one.create(REQUEST, AT, "job-1")
    one.advance("job-1", "ready", at(1), snapshot="snap-2")
    one.advance("job-1", "training", at(2), "step 1")
    one.advance("job-1", "training", at(3), "step 2")
    told = [fact.event for fact in one.facts]
    assert [
        TrainingJobChanged(job="job-1", role="mayor", previous=None, state="corpus-validating", note="from the spring"),
        TrainingJobChanged(job="job-1", role="mayor", previous="corpus-validating", state="ready"),
        TrainingJobChanged(job="job-1", role="mayor", previous="ready", state="training", note="step 1"),
    ] == told
    job = jobs.read(connection, "job-1")
    assert ("step 2", "snap-2", at(3), None) == (job.note, job.snapshot, job.updated_at, job.ended_at)
    connection.execute("DELETE FROM bead_intents")
    connection.execute("DELETE FROM training_jobs")
    again = changes(connection)
    again.create(REQUEST, AT, "job-1")
    assert one.facts[0] == again.facts[0]


def test_what_ended_stays(connection: sqlite3.Connection) -> None:
    """A failed job says when, and takes neither another state nor another note."""
    one = changes(connection)
    one.create(REQUEST, AT, "job-1")
    failed = one.advance("job-1", "failed", at(1), "no memory")
    assert at(1) == failed.ended_at
    assert failed == one.advance("job-1", "failed", at(2), "something else")
    with pytest.raises(Refused, match="it has ended"):
        one.advance("job-1", "training", at(3))


def test_what_is_not_there_is_said(connection: sqlite3.Connection) -> None:
    one = changes(connection)
    one.create(REQUEST, AT, "job-1")
    with pytest.raises(Missing, match="job-2"):
        one.advance("job-2", "ready", AT)
    with pytest.raises(Missing, match="mayor-v9"):
        one.advance("job-1", "ready", AT, model="mayor-v9")


def test_texts_are_plain_scrubbed_and_short(connection: sqlite3.Connection) -> None:
    """Nothing that steers a terminal, no secret, and of a megabyte the beginning and the end."""
    one = changes(connection)
    one.create(REQUEST, AT, "job-1")
    hostile = "--help\0\x1b[31mred\x1b]0;title\x07 hunter2\r\nline\u202e\ud800" + "x" * 1_000_000 + "the cause"
    note = one.advance("job-1", "failed", at(1), hostile).note
    assert note.startswith("--help\ufffdred [gone]\nline\ufffd\ufffd")
    assert note.endswith("xthe cause")
    assert len(note) < jobs.NOTE_CHARS + 100
    assert "\ufffdrest" in one.create(JobRequest("role", "mayor", "\x1b[\0rest"), AT, "job-2").objective


def test_jobs_are_listed_newest_first(connection: sqlite3.Connection) -> None:
    one = changes(connection)
    for number in range(4):
        one.create(REQUEST, at(number), f"job-{number}")
    one.advance("job-2", "ready", at(9))
    assert ["job-3", "job-2", "job-1"] == [job.id for job in jobs.listed(connection, limit=3)]
    assert ["job-2"] == [job.id for job in jobs.listed(connection, "ready")]


def test_the_town_hears_of_each_change(connection: sqlite3.Connection) -> None:
    """The journal has the row as it was at every moment."""
    one = changes(connection)
    one.create(REQUEST, AT, "job-1")
    one.advance("job-1", "ready", at(1))
    found = connection.execute("SELECT row FROM records_journal WHERE table_name = 'training_jobs' ORDER BY seq")
    assert ["corpus-validating", "ready"] == [json.loads(row)["state"] for (row,) in found]
