"""What is recorded for `bd`: in order, and few where a run changes often."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd.registry import bead_intents
from gtftd.registry.jobs import JobChanges, JobRequest
from gtftd.schemas.registry import JobState
from gtftd.state.database import migrate

AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    migrate(tmp_path / "state.db")
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as opened:
        opened.execute("PRAGMA foreign_keys = ON")
        yield opened


@pytest.fixture
def job(connection: sqlite3.Connection) -> JobChanges:
    """One whose beads were made."""
    made = JobChanges(connection, str)
    made.create(JobRequest("role", "mayor", "Fewer words", "snap-1"), AT, "j")
    apply_due(connection, AT)
    return made


def apply_due(connection: sqlite3.Connection, now: datetime) -> list[tuple[str, str]]:
    """As the face of beads does: what is due, in order, is marked."""
    found = bead_intents.due(bead_intents.open_intents(connection), now.timestamp()).get("j", [])
    for intent in found:
        assert bead_intents.finish(connection, intent, now.timestamp())
    return [(one.action, one.payload.text or one.payload.state or one.payload.bead) for one in found]


def at(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def test_a_new_job_is_two_beads_and_a_need(connection: sqlite3.Connection) -> None:
    """The corpus is begun at once; the training needs it."""
    JobChanges(connection, str).create(JobRequest("role", "mayor", "Fewer words", "snap-1"), AT, "j")
    found = [(one.action, one.payload.bead) for one in bead_intents.open_intents(connection)]
    assert [("create", "corpus"), ("start", "corpus"), ("create", "training"), ("depend", "training")] == found


def test_a_whole_life_is_told_in_order(connection: sqlite3.Connection, job: JobChanges) -> None:
    connection.execute("INSERT INTO artifacts VALUES ('d', 'gguf', 1, 's', 0, NULL)")
    connection.execute(
        """INSERT INTO models (name, kind, series, version, status, base_model, base_digest, tokenizer_sha256,
             corpus_hash, artifact, gtftd_version, eval_score, trained_at, created_at)
           VALUES ('mayor-v3', 'role', 'mayor', 3, 'registered', 'b', 'd', 't', 'c', 'd', '1', 0.8125, 0, 0)"""
    )
    told = []
    life: list[tuple[JobState, str]] = [
        ("ready", ""), ("training", ""), ("checkpointing", "step 400"), ("evaluating", ""),
    ]  # fmt: skip
    for minute, (state, note) in enumerate(life):
        job.advance("j", state, at(minute * 20), note)
        told += apply_due(connection, at(minute * 20))
    job.advance("j", "done", at(100), model="mayor-v3")
    told += apply_due(connection, at(100))
    assert [
        ("close", "done: snap-1 can be trained on"),
        ("label", "ready"),
        ("start", "training"),
        ("label", "training"),
        ("label", "checkpointing"),
        ("note", "step 400"),
        ("label", "evaluating"),
        ("label", "done"),
        ("close", "done: mayor-v3, score 0.812"),
    ] == told


def test_a_corpus_that_fails_ends_both(connection: sqlite3.Connection, job: JobChanges) -> None:
    """The corpus first, for it blocks the training; with the diagnosis."""
    job.advance("j", "failed", at(1), "17 entries are tainted")
    assert [
        ("close", "failed: 17 entries are tainted"),
        ("label", "failed"),
        ("close", "failed: 17 entries are tainted"),
    ] == apply_due(connection, at(1))


def test_a_run_that_goes_round_says_little(connection: sqlite3.Connection, job: JobChanges) -> None:
    """Two hundred rounds in a hundred minutes: a note every ten, a label every five, the last words in the end."""
    job.advance("j", "ready", at(1))
    job.advance("j", "training", at(2))
    told = []
    for step in range(200):
        now = at(2 + step / 2)
        job.advance("j", "checkpointing", now, f"step {step}")
        told += apply_due(connection, now)
        job.advance("j", "training", now + timedelta(seconds=10))
        told += apply_due(connection, now + timedelta(seconds=10))
    notes = [text for action, text in told if action == "note"]
    assert ["step 0", "step 20", "step 40"] == notes[:3]
    assert 10 == len(notes)
    assert 20 >= sum(action == "label" for action, _ in told)
    job.advance("j", "failed", at(200), "no memory")
    assert [("note", "step 199"), ("label", "failed"), ("close", "failed: no memory")] == sorted(
        apply_due(connection, at(200)), key=lambda one: ("note", "label", "close").index(one[0])
    )


def test_while_nobody_listens_little_piles_up(connection: sqlite3.Connection, job: JobChanges) -> None:
    """`bd` away for a thousand rounds leaves one label and one note of each state."""
    job.advance("j", "ready", at(1))
    job.advance("j", "training", at(2))
    for step in range(1000):
        job.advance("j", "checkpointing", at(3 + step), f"step {step}")
        job.advance("j", "training", at(3.5 + step))
    found = bead_intents.open_intents(connection)
    assert ["close", "label", "start", "note"] == [one.action for one in found]
    assert ("training", "step 999") == (found[1].payload.state, found[3].payload.text)


def test_trouble_is_not_swallowed_by_the_next_checkpoint(connection: sqlite3.Connection, job: JobChanges) -> None:
    """Each state has a note of its own, and trouble is told at once."""
    job.advance("j", "ready", at(1))
    job.advance("j", "training", at(2))
    job.advance("j", "checkpointing", at(3), "step 1")
    apply_due(connection, at(3))
    job.advance("j", "degraded", at(4), "two peers are gone")
    job.advance("j", "training", at(5))
    job.advance("j", "checkpointing", at(6), "step 2")
    assert ("note", "two peers are gone") in apply_due(connection, at(6))


def test_what_was_replaced_while_it_was_told_is_told_again(connection: sqlite3.Connection, job: JobChanges) -> None:
    """The mark only counts for the words that `bd` heard."""
    job.advance("j", "ready", at(1))
    (stale,) = (one for one in bead_intents.open_intents(connection) if one.action == "label")
    job.advance("j", "training", at(2))
    assert bead_intents.finish(connection, stale, 0.0) is False
    assert ("label", "training") in apply_due(connection, at(2))


def test_what_was_refused_can_be_told_again(connection: sqlite3.Connection, job: JobChanges) -> None:
    job.advance("j", "ready", at(1))
    for intent in bead_intents.open_intents(connection):
        bead_intents.finish(connection, intent, 1.0, "bd close ended with 1")
    assert 2 == bead_intents.given_up(connection)
    assert 2 == bead_intents.reopen(connection, "j")
    assert 2 == len(bead_intents.open_intents(connection))


def test_what_is_past_is_not_told_again(connection: sqlite3.Connection, job: JobChanges) -> None:
    """A label that a newer one followed, and the begin of what was closed, would say what is no longer so."""
    job.advance("j", "ready", at(1))
    job.advance("j", "training", at(2))
    for intent in bead_intents.open_intents(connection):
        bead_intents.finish(connection, intent, 1.0, "bd ended with 1")
    job.advance("j", "failed", at(3))
    apply_due(connection, at(3))
    assert 1 == bead_intents.reopen(connection, "j")
    assert [("close", "corpus")] == [(i.action, i.payload.bead) for i in bead_intents.open_intents(connection)]
