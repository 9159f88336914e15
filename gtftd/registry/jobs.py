"""Training jobs: their records, inside a transaction of the caller, with their facts and what `bd` is to be told."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from gtftd.errors import Conflict, Invalid, Missing
from gtftd.registry import bead_intents, job_states
from gtftd.schemas.event import event_id
from gtftd.schemas.registry import JobState, Kind, TrainingJob, TrainingJobChanged
from gtftd.state.outbox import Outgoing
from gtftd.town.jsonl import clean

NOTE_CHARS = 4000
"""Most of a note that is kept: its beginning and its end."""
_LOOKED_AT_CHARS = 128 * 1024
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Part of a label of `bd`, where a comma or a quote would begin another one."""
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|[\]PX^_][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)?|[ -/]{0,8}[0-~])"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_FIELDS = (
    "id", "kind", "series", "objective", "state", "snapshot", "model", "bead", "corpus_bead", "config", "note",
    "created_at", "updated_at", "ended_at",
)  # fmt: skip
_MOMENTS = ("created_at", "updated_at", "ended_at")


@dataclass(frozen=True)
class JobRequest:
    """What somebody wants trained."""

    kind: Kind
    series: str
    objective: str
    snapshot: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


class JobChanges:
    """Collects the facts of what it did; whoever commits the rows commits them too (`insert_rows`).

    The intents for `bd` are rows of the same transaction. Every text is scrubbed before it is written anywhere.
    """

    def __init__(self, connection: sqlite3.Connection, scrub: Callable[[str], str]) -> None:
        self._connection = connection
        self._scrub = scrub
        self.facts: list[Outgoing] = []

    def create(self, request: JobRequest, at: datetime, id: str) -> TrainingJob:
        """A job whose corpus is looked at first. The same again is the job as it is now; otherwise Conflict."""
        if not _ID.fullmatch(id):
            raise Invalid(f"{id!r} cannot name a training job: letters, digits, _ . - and at most 64 of them")
        objective = self._plain(request.objective)
        known = _read(self._connection, id)
        if known is not None:
            _check_same(known, request, objective)
            return known
        try:
            job = TrainingJob(
                id=id, kind=request.kind, role=request.series, objective=objective, state=job_states.FIRST,
                snapshot=request.snapshot, config=request.config, note=self._plain(request.note),
                created_at=at, updated_at=at,
            )  # fmt: skip
        except ValidationError as error:
            raise Invalid(f"training job {id}: {error}") from error
        row = _row(job)
        sql = f"INSERT INTO training_jobs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        self._connection.execute(sql, list(row.values()))
        bead_intents.record_created(self._connection, job)
        self._tell(job, None)
        return job

    def advance(
        self,
        id: str,
        state: JobState,
        at: datetime,
        note: str = "",
        model: str | None = None,
        snapshot: str | None = None,
    ) -> TrainingJob:
        """Raises Refused where the state may not follow, Missing for a job or a model that is not there.

        The same again changes nothing, as long as the job is in that state.
        In its state another note or model is kept, and no fact follows from it.
        """
        before = read(self._connection, id)
        if before.state in job_states.ENDED and before.state == state:
            return before
        told = self._plain(note)
        if before.state != state:
            job_states.check(id, before.state, state)
        elif told in ("", before.note) and model in (None, before.model) and snapshot in (None, before.snapshot):
            return before
        self._check_model(model)
        job = before.model_copy(
            update={
                "state": state, "note": told, "model": model or before.model, "snapshot": snapshot or before.snapshot,
                "updated_at": at, "ended_at": at if state in job_states.ENDED else None,
            }
        )  # fmt: skip
        self._write(job)
        bead_intents.record_changed(self._connection, before, job)
        if before.state != state:
            self._tell(job, before.state)
        return job

    def retell(self, id: str) -> int:
        """Open again what `bd` refused of this job; how much that is. Raises Missing."""
        read(self._connection, id)
        return bead_intents.reopen(self._connection, id)

    def _write(self, job: TrainingJob) -> None:
        row = _row(job)
        changed = {name: row[name] for name in ("state", "note", "model", "snapshot", "updated_at", "ended_at")}
        sql = f"UPDATE training_jobs SET {', '.join(f'{name} = ?' for name in changed)} WHERE id = ?"
        self._connection.execute(sql, [*changed.values(), job.id])

    def _check_model(self, model: str | None) -> None:
        if model is None or self._connection.execute("SELECT 1 FROM models WHERE name = ?", (model,)).fetchone():
            return
        raise Missing(f"there is no model {model!r}; register it before its training job names it")

    def _tell(self, job: TrainingJob, previous: JobState | None) -> None:
        fact = TrainingJobChanged(
            job=job.id, role=job.role, previous=previous, state=job.state, model=job.model, note=job.note
        )
        identity = event_id(fact.subject, job.id, previous, job.state, job.updated_at.timestamp())
        self.facts.append(Outgoing(identity, fact, job.updated_at))

    def _plain(self, text: str) -> str:
        """Without terminal escapes and control characters, scrubbed, and no longer than a person reads."""
        seen = _cut(text, _LOOKED_AT_CHARS).replace("\r\n", "\n")
        return _cut(self._scrub(_CONTROL.sub("\ufffd", clean(_ESCAPE.sub("", seen)))), NOTE_CHARS).strip()


def read(connection: sqlite3.Connection, id: str) -> TrainingJob:
    """Raises Missing."""
    job = _read(connection, id)
    if job is None:
        raise Missing(f"there is no training job {id!r}")
    return job


def listed(connection: sqlite3.Connection, state: JobState | None = None, limit: int = 100) -> list[TrainingJob]:
    """The newest first."""
    where, values = ("WHERE state = ?", [state]) if state else ("", [])
    sql = f"SELECT {', '.join(_FIELDS)} FROM training_jobs {where} ORDER BY created_at DESC, id LIMIT ?"
    return [_job(row) for row in connection.execute(sql, [*values, limit])]


def _read(connection: sqlite3.Connection, id: str) -> TrainingJob | None:
    sql = f"SELECT {', '.join(_FIELDS)} FROM training_jobs WHERE id = ?"
    row = connection.execute(sql, (id,)).fetchone()
    return None if row is None else _job(row)


def _job(row: tuple[Any, ...]) -> TrainingJob:
    values = dict(zip(_FIELDS, row, strict=True))
    values["role"] = values.pop("series")
    values["config"] = json.loads(values["config"])
    for name in _MOMENTS:
        values[name] = None if values[name] is None else datetime.fromtimestamp(values[name], UTC)
    return TrainingJob(**values)


def _row(job: TrainingJob) -> dict[str, str | float | None]:
    values = job.model_dump()
    values["series"] = values.pop("role")
    values["config"] = json.dumps(values["config"], sort_keys=True)
    for name in _MOMENTS:
        values[name] = None if values[name] is None else values[name].timestamp()
    return values


def _check_same(known: TrainingJob, request: JobRequest, objective: str) -> None:
    had = (known.kind, known.role, known.objective, known.snapshot)
    if had != (request.kind, request.series, objective, request.snapshot):
        raise Conflict(f"training job {known.id} is there already and is for {known.role}: {known.objective[:80]!r}")


def _cut(text: str, most: int) -> str:
    """The end of a diagnosis says as much as its beginning."""
    if len(text) <= most:
        return text
    tail = most // 4
    return f"{text[: most - tail]}\n[{len(text) - most} characters left out]\n{text[-tail:]}"
