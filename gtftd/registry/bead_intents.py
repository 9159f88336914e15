"""What `bd` is to be told of training jobs: recorded with the change, kept in order, few where a run changes often."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from gtftd.errors import Corrupt
from gtftd.registry import job_states
from gtftd.schemas.event import Frozen
from gtftd.schemas.registry import JobState, TrainingJob

Action = Literal["create", "depend", "start", "label", "note", "close"]
Which = Literal["corpus", "training"]
NOTE_EVERY_S = 600.0
LABEL_EVERY_S = 300.0
"""How often at most a running job says that it saves or synchronises; a change that matters is told at once."""
_AT_ONCE = 1000
_COLUMNS: dict[Which, str] = {"corpus": "corpus_bead", "training": "bead"}


class Payload(Frozen):
    """What is to be told; which fields count depends on the action."""

    bead: Which = "training"
    title: str = ""
    text: str = ""
    state: JobState | None = None
    not_before: float = 0.0
    """Unix seconds. What follows it does not wait for it."""
    revision: int = 0
    """How often it was replaced by something newer before `bd` heard of it."""


@dataclass(frozen=True)
class Intent:
    """One row, as it was read."""

    seq: int
    job: str
    action: Action
    payload: Payload
    written: str


def record_created(connection: sqlite3.Connection, job: TrainingJob) -> None:
    """A bead for the corpus, which is looked at now, and one for the training, which needs it."""
    of = f"{job.role} ({job.kind})"
    corpus = f"Corpus of the training job {job.id}\n\nsnapshot: {job.snapshot or 'none yet'}"
    training = f"{job.objective}\n\ntraining job: {job.id}\nsnapshot: {job.snapshot or 'none yet'}\n{job.note}".strip()
    writer = _Writer(connection, job)
    writer.add("create", Payload(bead="corpus", title=f"Check the corpus for {of}", text=corpus))
    writer.add("start", Payload(bead="corpus"))
    writer.add("create", Payload(title=f"Train {of}", text=training, state=job.state))
    writer.add("depend", Payload())


def record_changed(connection: sqlite3.Connection, before: TrainingJob, job: TrainingJob) -> None:
    """What the change means for the two beads."""
    writer = _Writer(connection, job)
    if before.state != job.state:
        if before.state == job_states.FIRST:
            writer.close("corpus", _end_of_corpus(job))
        if before.state == "ready" and job.state == "training":
            writer.add("start", Payload())
        writer.label(before.state)
    if job.state != "failed" and (job.note or job.state == "checkpointing"):
        writer.note(job.note or "checkpoint")
    if job.state in job_states.ENDED:
        writer.close("training", _end(job, _score(connection, job)))


def open_intents(connection: sqlite3.Connection) -> list[Intent]:
    """What `bd` has not heard of, in order."""
    sql = "SELECT seq, job, action, payload FROM bead_intents WHERE done_at IS NULL ORDER BY seq LIMIT ?"
    return [_intent(*row) for row in connection.execute(sql, (_AT_ONCE,))]


def due(intents: Iterable[Intent], now: float) -> dict[str, list[Intent]]:
    """By job: all up to the last one whose time has come. What waits does not hold up what may go."""
    by_job: dict[str, list[Intent]] = defaultdict(list)
    for intent in intents:
        by_job[intent.job].append(intent)
    last = {
        job: max((n for n, intent in enumerate(found) if intent.payload.not_before <= now), default=-1)
        for job, found in by_job.items()
    }
    return {job: found[: last[job] + 1] for job, found in by_job.items() if last[job] >= 0}


def finish(connection: sqlite3.Connection, intent: Intent, at: float, error: str = "") -> bool:
    """False when it was replaced by something newer meanwhile, which is still to be told."""
    sql = "UPDATE bead_intents SET done_at = ?, error = ? WHERE seq = ? AND payload = ? AND done_at IS NULL"
    return connection.execute(sql, (at, error, intent.seq, intent.written)).rowcount == 1


def keep_error(connection: sqlite3.Connection, intent: Intent, error: str) -> None:
    """Why it is still open."""
    connection.execute("UPDATE bead_intents SET error = ? WHERE seq = ? AND done_at IS NULL", (error, intent.seq))


def keep_bead(connection: sqlite3.Connection, job: str, which: Which, bead: str) -> None:
    connection.execute(f"UPDATE training_jobs SET {_COLUMNS[which]} = ? WHERE id = ?", (bead, job))


def beads_of(connection: sqlite3.Connection, job: str) -> dict[Which, str | None]:
    row = connection.execute("SELECT corpus_bead, bead FROM training_jobs WHERE id = ?", (job,)).fetchone()
    return {"corpus": row[0], "training": row[1]}


def given_up(connection: sqlite3.Connection) -> int:
    """How many changes `bd` refused for good."""
    sql = "SELECT count(*) FROM bead_intents WHERE done_at IS NOT NULL AND error != ''"
    return int(connection.execute(sql).fetchone()[0])


def reopen(connection: sqlite3.Connection, job: str) -> int:
    """Tell `bd` again what it refused for good, but for what is past; returns how many."""
    sql = """UPDATE bead_intents AS refused SET done_at = NULL, error = ''
             WHERE job = ? AND done_at IS NOT NULL AND error != '' AND NOT EXISTS (
               SELECT 1 FROM bead_intents AS later
               WHERE later.job = refused.job AND later.seq > refused.seq
                 AND later.done_at IS NOT NULL AND later.error = ''
                 AND json_extract(later.payload, '$.bead') = json_extract(refused.payload, '$.bead')
                 AND (later.action = refused.action AND later.action = 'label'
                      OR later.action = 'close' AND refused.action = 'start'))"""
    return connection.execute(sql, (job,)).rowcount


class _Writer:
    def __init__(self, connection: sqlite3.Connection, job: TrainingJob) -> None:
        self._connection = connection
        self._job = job
        self._at = job.updated_at.timestamp()

    def add(self, action: Action, payload: Payload) -> None:
        sql = "INSERT INTO bead_intents (job, action, payload, at) VALUES (?, ?, ?, ?)"
        self._connection.execute(sql, (self._job.id, action, payload.model_dump_json(), self._at))

    def close(self, which: Which, reason: str) -> None:
        self.add("close", Payload(bead=which, text=reason))

    def label(self, previous: JobState) -> None:
        """One that is open says the newer state instead."""
        state = self._job.state
        at_once = not (previous in job_states.RUNNING and state in job_states.RUNNING)
        waiting = self._open("label")
        if waiting:
            not_before = 0.0 if at_once else waiting.payload.not_before
            self._replace(waiting, Payload(state=state, not_before=not_before))
        else:
            self.add("label", Payload(state=state, not_before=0.0 if at_once else self._last("label") + LABEL_EVERY_S))

    def note(self, text: str) -> None:
        """One of the same state that is open says the newer words instead."""
        state = self._job.state
        waiting = self._open("note", state)
        if waiting:
            self._replace(waiting, Payload(text=text, state=state, not_before=waiting.payload.not_before))
        else:
            self.add("note", Payload(text=text, state=state, not_before=self._last("note", state) + NOTE_EVERY_S))

    def _replace(self, intent: Intent, payload: Payload) -> None:
        newer = payload.model_copy(update={"revision": intent.payload.revision + 1})
        sql = "UPDATE bead_intents SET payload = ? WHERE seq = ?"
        self._connection.execute(sql, (newer.model_dump_json(), intent.seq))

    def _open(self, action: Action, state: JobState | None = None) -> Intent | None:
        sql = """SELECT seq, job, action, payload FROM bead_intents
                 WHERE job = ? AND action = ? AND done_at IS NULL
                   AND (? IS NULL OR json_extract(payload, '$.state') = ?) ORDER BY seq DESC LIMIT 1"""
        row = self._connection.execute(sql, (self._job.id, action, state, state)).fetchone()
        return None if row is None else _intent(*row)

    def _last(self, action: Action, state: JobState | None = None) -> float:
        """When `bd` last heard of such a thing; long ago when it never did."""
        sql = """SELECT max(done_at) FROM bead_intents
                 WHERE job = ? AND action = ? AND (? IS NULL OR json_extract(payload, '$.state') = ?)"""
        (last,) = self._connection.execute(sql, (self._job.id, action, state, state)).fetchone()
        return float(last or 0.0)


def _intent(seq: int, job: str, action: str, payload: str) -> Intent:
    known = next((one for one in get_args(Action) if one == action), None)
    if known is None:
        raise Corrupt(f"bead_intents {seq} has the action {action!r}, which this gtftd does not know")
    return Intent(seq, job, known, Payload.model_validate_json(payload), payload)


def _end(job: TrainingJob, score: float | None = None) -> str:
    """`bd` looks for words like failed in a reason, so a success has nothing but the model and its score."""
    if job.state == "failed":
        return f"failed: {job.note or 'no diagnosis was given'}"
    told = f", score {score:.3f}" if score is not None else ""
    return f"done: {job.model or 'no model'}{told}"


def _end_of_corpus(job: TrainingJob) -> str:
    return f"done: {job.snapshot or 'the corpus'} can be trained on" if job.state == "ready" else _end(job)


def _score(connection: sqlite3.Connection, job: TrainingJob) -> float | None:
    row = connection.execute("SELECT eval_score FROM models WHERE name = ?", (job.model,)).fetchone()
    return row[0] if row else None
