"""Changes of the registry, each inside a transaction of the caller: the rows, and the facts that go with them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import gtftd
from gtftd.errors import Conflict, Invalid, Missing, Refused
from gtftd.registry.decisions import Decisions
from gtftd.registry.rows import ACTIVE
from gtftd.schemas.event import event_id
from gtftd.schemas.registry import (
    ArtifactPruned,
    Candidate,
    Evaluation,
    Format,
    Kind,
    ModelEntry,
    ModelEvaluated,
    ModelRegistered,
    Preference,
)

_NO_ALIAS = {ACTIVE, "latest"}


@dataclass(frozen=True)
class Stored:
    """An artifact that is on disk."""

    digest: str
    format: Format
    size_bytes: int
    signer: str


class Changes(Decisions):
    """What is known of models, and what is decided of them."""

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
