"""Changes of the registry, each inside a transaction of the caller: the rows, and the facts that go with them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import gtftd
from gtftd.errors import Conflict, Invalid, Missing, Refused
from gtftd.registry import lifecycle
from gtftd.registry.reading import Reading
from gtftd.registry.rows import ACTIVE
from gtftd.schemas.event import Event, event_id
from gtftd.schemas.registry import (
    Action,
    ArtifactPruned,
    Candidate,
    Deployment,
    DeploymentDecided,
    Evaluation,
    Format,
    Kind,
    ModelChanged,
    ModelEntry,
    ModelEvaluated,
    ModelRegistered,
    Preference,
    Status,
)
from gtftd.state.outbox import Outgoing

_NO_ALIAS = {ACTIVE, "latest"}


@dataclass(frozen=True)
class Who:
    """Who decided, why, and when."""

    by: str
    why: str
    at: datetime


@dataclass(frozen=True)
class Stored:
    """An artifact that is on disk."""

    digest: str
    format: Format
    size_bytes: int
    signer: str


class Changes:
    """Collects the facts of what it did; whoever commits the rows commits them too."""

    def __init__(self, connection: sqlite3.Connection, models_folder: Path, who: Who) -> None:
        self._connection = connection
        self._who = who
        self.reading = Reading(connection, models_folder)
        self.facts: list[Outgoing] = []

    def register(self, candidate: Candidate, stored: Stored) -> ModelEntry:
        """The next version of its series. The same artifact again is the version that it got before."""
        self._store(stored)
        known = self._registered(candidate, stored.digest)
        if known is not None:
            return self.reading.model(known)
        self._check_links(candidate)
        version = self._next_version(candidate.kind, candidate.role)
        name = f"{candidate.role}-v{version}"
        if self._connection.execute("SELECT 1 FROM models WHERE name = ?", (name,)).fetchone():
            raise Conflict(
                f"{name} is there already, as an adapter for a task or a model of a role; name one of them otherwise"
            )
        self._insert(name, version, candidate, stored.digest)
        self._note_transition(name, None, "registered")
        fact = ModelRegistered(
            model=name, role=candidate.role, kind=candidate.kind, artifact=stored.digest, by=self._who.by
        )
        self._tell(fact, event_id("model.registered", name, stored.digest))
        return self.reading.model(name)

    def move(self, name: str, status: Status) -> None:
        """Give a model another status. The same again changes nothing."""
        model = self.reading.model(name)
        if model.deployment_status == status:
            return
        lifecycle.check(name, model.deployment_status, status)
        if status not in lifecycle.SERVING and (places := self.reading.serves_where(name)):
            rigs = ", ".join(f"{role} in {rig or 'the whole town'}" for role, rig in places)
            raise Refused(f"{name} serves {rigs}; roll it back first (`gtftctl model rollback`)")
        self._set_status(name, model.deployment_status, status)

    def taint(self, *names: str) -> None:
        """They were made of what must not be known: none of them serves anywhere any more, and none takes its place."""
        for name in names:
            for role, rig in self.reading.serves_where(name):
                self.rollback(role, rig, without=names)
        for name in names:
            self.move(name, "tainted")

    def taint_made_of(self, sources: Iterable[str]) -> list[str]:
        """What learned from these snapshots or models, all the way down; what is tainted already is passed over."""
        tainted: list[str] = []
        waiting = list(sources)
        while waiting:
            for name, relation in self.reading.made_from(waiting.pop()):
                is_new = name not in tainted and self.reading.model(name).deployment_status != "tainted"
                if is_new and relation in {"snapshot", "parent"}:
                    tainted.append(name)
                    waiting.append(name)
        self.taint(*tainted)
        return tainted

    def keep_preferences(self, pairs: Iterable[Preference]) -> int:
        """Keep the pairs of a snapshot that is trained on; how many are new."""
        before = self._connection.total_changes
        fields = tuple(Preference.model_fields)
        sql = f"INSERT OR IGNORE INTO preferences ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})"
        rows = (one.model_dump() | {"created_at": one.created_at.timestamp()} for one in pairs)
        self._connection.executemany(sql, [[row[name] for name in fields] for row in rows])
        return self._connection.total_changes - before

    def evaluate(self, evaluation: Evaluation) -> None:
        """Keep an examination; the same again changes nothing."""
        model = self.reading.model(evaluation.model)
        whole = evaluation.scores.get("")
        if whole is None:
            raise Invalid(f"evaluation {evaluation.id} has no score of the whole suite (category '')")
        values = (evaluation.id, model.name, evaluation.suite, evaluation.at.timestamp())
        if not self._connection.execute("INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?, ?)", values).rowcount:
            return
        self._connection.executemany(
            "INSERT INTO eval_scores VALUES (?, ?, ?, ?, ?, ?)",
            [(evaluation.id, category, *one.model_dump().values()) for category, one in evaluation.scores.items()],
        )
        self._connection.executemany(
            "INSERT INTO eval_items VALUES (?, ?, ?, ?)",
            [(evaluation.id, one.item, one.category, one.passed) for one in evaluation.items],
        )
        self._connection.execute("UPDATE models SET eval_score = ? WHERE name = ?", (whole.score, model.name))
        fact = ModelEvaluated(
            model=model.name, evaluation=evaluation.id, suite=evaluation.suite, score=whole.score, n=whole.n
        )
        self._tell(fact, event_id("model.evaluated", evaluation.id))

    def deploy(self, name: str, role: str, rig: str) -> Deployment | None:
        """It serves the role there from now on; None when it does already."""
        model = self.reading.model(name)
        self._check_deployable(model, role)
        if self.reading.serving(role, rig) == name:
            return None
        return self._decide("deploy", role, rig, name)

    def rollback(self, role: str, rig: str, to: str | None = None, *, without: Collection[str] = ()) -> Deployment:
        """Back to what served before, or to `to`. Where nothing of ours served before that may serve again, to none."""
        now = self.reading.serving(role, rig)
        if now is None:
            raise Refused(
                f"none of our models serves {role} in {rig or 'the whole town'}: there is nothing to roll back"
            )
        before = (
            [to] if to else [name for name in reversed(self.reading.served_before(role, rig)) if name not in without]
        )
        may = (name for name in before if name is None or self._may_serve_again(name, role, insist=bool(to)))
        target = next(may, None)
        return self._decide("rollback", role, rig, target)

    def withdraw(self, role: str, rig: str) -> Deployment | None:
        """None of ours serves the role there any more; None when none does."""
        if self.reading.serving(role, rig) is None:
            return None
        return self._decide("withdraw", role, rig, None)

    def tag(self, name: str, alias: str) -> None:
        """An alias has one model of a series; it moves."""
        if alias in _NO_ALIAS:
            raise Refused(f"{alias!r} is not given by hand: it follows the deployments and versions")
        model = self.reading.model(name)
        self._connection.execute(
            "INSERT OR REPLACE INTO model_aliases (series, alias, rig, model, at) VALUES (?, ?, '', ?, ?)",
            (model.role, alias, model.name, self._at),
        )

    def untag(self, series: str, alias: str) -> None:
        if alias in _NO_ALIAS:
            raise Refused(f"{alias!r} is not taken by hand: it follows the deployments and versions")
        sql = "DELETE FROM model_aliases WHERE series = ? AND alias = ? AND rig = ''"
        if not self._connection.execute(sql, (series, alias)).rowcount:
            raise Missing(f"no model of {series} is called {alias!r}")

    def prune(self, models: Iterable[ModelEntry]) -> dict[str, int]:
        """Leave tombstones for these models; returns artifacts that no model needs any more, with their bytes."""
        gone: dict[str, int] = {}
        chosen = {model.name: model for model in models}
        for model in chosen.values():
            sql = "SELECT name FROM models WHERE artifact = ?"
            users = {row[0] for row in self._connection.execute(sql, (model.artifact,))}
            if users - chosen.keys():
                continue
            sql = "UPDATE artifacts SET removed_at = ? WHERE digest = ? AND removed_at IS NULL RETURNING size_bytes"
            row = self._connection.execute(sql, (self._at, model.artifact)).fetchone()
            if row is not None:
                gone[model.artifact] = row[0]
                fact = ArtifactPruned(model=model.name, artifact=model.artifact, freed_bytes=row[0], by=self._who.by)
                self._tell(fact, event_id("artifact.pruned", model.artifact, self._at))
        return gone

    @property
    def _at(self) -> float:
        return self._who.at.timestamp()

    def _registered(self, candidate: Candidate, artifact: str) -> str | None:
        sql = """SELECT name FROM models WHERE kind = ? AND series = ? AND artifact = ?"""
        values = (candidate.kind, candidate.role, artifact)
        row = self._connection.execute(sql, values).fetchone()
        return row[0] if row else None

    def _check_links(self, candidate: Candidate) -> None:
        for name in (candidate.parent, *candidate.lora_adapters):
            if name is not None and self.reading.model(name).base_digest != candidate.base_digest:
                raise Invalid(f"{name} has another base model than {candidate.base_model}: they do not fit together")

    def _store(self, stored: Stored) -> None:
        self._connection.execute(
            """INSERT INTO artifacts (digest, format, size_bytes, signer, stored_at) VALUES (?, ?, ?, ?, ?)
               ON CONFLICT (digest) DO UPDATE SET removed_at = NULL""",
            (stored.digest, stored.format, stored.size_bytes, stored.signer, self._at),
        )

    def _next_version(self, kind: Kind, series: str) -> int:
        sql = """INSERT INTO model_versions (kind, series, last) VALUES (?, ?, 1)
                 ON CONFLICT (kind, series) DO UPDATE SET last = last + 1 RETURNING last"""
        return int(self._connection.execute(sql, (kind, series)).fetchone()[0])

    def _insert(self, name: str, version: int, candidate: Candidate, artifact: str) -> None:
        given = candidate.model_dump(mode="json")
        row = {
            **{key: given[key] for key in given if key not in {"role", "trained_at"}},
            **{key: json.dumps(given[key], sort_keys=True) for key in ("lora_adapters", "compatible_with",
                                                                        "training_config", "conventions")},
            "name": name,
            "series": candidate.role,
            "version": version,
            "artifact": artifact,
            "status": "registered",
            "gtftd_version": gtftd.__version__,
            "trained_at": candidate.trained_at.timestamp(),
            "created_at": self._at,
        }  # fmt: skip
        self._connection.execute(
            f"INSERT INTO models ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO lineage (model, relation, source) VALUES (?, ?, ?)",
            [(name, relation, source) for relation, source in _sources(candidate, artifact)],
        )

    def _check_deployable(self, model: ModelEntry, role: str) -> None:
        name, status = model.name, model.deployment_status
        if model.kind != "role":
            raise Refused(f"{name} is an adapter for a task: it is stacked on a model of a role and deployed with it")
        if model.role != role:
            raise Refused(f"{name} is a model of {model.role} and cannot serve {role}")
        if status not in lifecycle.DEPLOYABLE:
            allowed = ", ".join(sorted(lifecycle.DEPLOYABLE))
            raise Refused(f"{name} is {status}; a model that is deployed must be one of: {allowed}")
        if not lifecycle.has_passed(one.status for one in self.reading.transitions(name)):
            raise Refused(f"{name} has not passed its gate: it is {status} without having been gated since")
        if model.artifact_path is None:
            raise Refused(f"{name} was pruned: its bytes are gone")

    def _may_serve_again(self, name: str, role: str, *, insist: bool) -> bool:
        try:
            self._check_deployable(self.reading.model(name), role)
        except Refused:
            if insist:
                raise
            return False
        return True

    def _decide(self, action: Action, role: str, rig: str, model: str | None) -> Deployment:
        previous = self.reading.serving(role, rig)
        decision = event_id("deployment", action, role, rig, model, previous, self._at)
        self._connection.execute(
            "INSERT INTO deployments (id, action, role, rig, model, previous, by, why, at) VALUES (?,?,?,?,?,?,?,?,?)",
            (decision, action, role, rig, model, previous, self._who.by, self._who.why, self._at),
        )
        self._point(role, rig, model)
        if model is not None:
            self._serve(model)
        if previous is not None and not self.reading.serves_where(previous):
            self._retire(previous)
        made = self.reading.deployments(role, rig)[-1]
        fields = made.model_dump(exclude={"id", "at"})
        self._tell(DeploymentDecided(deployment=made.id, **fields), event_id("deployment.decided", made.id))
        return made

    def _point(self, role: str, rig: str, model: str | None) -> None:
        """Taken away first: triggers do not see what a replacement takes away."""
        sql = "DELETE FROM model_aliases WHERE series = ? AND alias = ? AND rig = ?"
        self._connection.execute(sql, (role, ACTIVE, rig))
        if model is not None:
            sql = "INSERT INTO model_aliases (series, alias, rig, model, at) VALUES (?, ?, ?, ?, ?)"
            self._connection.execute(sql, (role, ACTIVE, rig, model, self._at))

    def _serve(self, name: str) -> None:
        status = self.reading.model(name).deployment_status
        if status not in lifecycle.SERVING or status == "canary":
            self._set_status(name, status, "active")

    def _retire(self, name: str) -> None:
        status = self.reading.model(name).deployment_status
        if status in lifecycle.SERVING:
            self._set_status(name, status, "archived")

    def _set_status(self, name: str, previous: Status, status: Status) -> None:
        lifecycle.check(name, previous, status)
        self._connection.execute("UPDATE models SET status = ? WHERE name = ?", (status, name))
        seq = self._note_transition(name, previous, status)
        fact = ModelChanged(model=name, previous=previous, status=status, by=self._who.by, why=self._who.why)
        self._tell(fact, event_id("model.changed", name, seq, self._at))

    def _note_transition(self, name: str, previous: Status | None, status: Status) -> int:
        cursor = self._connection.execute(
            "INSERT INTO model_transitions (model, previous, status, by, why, at) VALUES (?, ?, ?, ?, ?, ?)",
            (name, previous, status, self._who.by, self._who.why, self._at),
        )
        return int(cursor.lastrowid or 0)

    def _tell(self, fact: Event, identity: str) -> None:
        self.facts.append(Outgoing(identity, fact, self._who.at))


def _sources(candidate: Candidate, artifact: str) -> list[tuple[str, str]]:
    given = [
        ("base", candidate.base_digest),
        ("tokenizer", candidate.tokenizer_sha256),
        ("artifact", artifact),
        ("snapshot", candidate.snapshot),
        ("parent", candidate.parent),
        ("job", candidate.job),
    ]
    return [(relation, source) for relation, source in given if source]
