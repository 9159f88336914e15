"""What the registry knows, read over one connection."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gtftd.errors import Missing
from gtftd.registry import rows
from gtftd.registry.jobs import listed, read
from gtftd.registry.lifecycle import SERVING
from gtftd.registry.rows import ACTIVE
from gtftd.schemas.registry import (
    Deployment,
    EvalItem,
    Evaluation,
    JobState,
    ModelEntry,
    Score,
    TrainingJob,
    Transition,
)


@dataclass(frozen=True)
class Wanted:
    """Which models; all of what is given must hold."""

    kind: str | None = None
    series: str | None = None
    status: str | None = None


class Reading:
    """Answers from one connection; many from one transaction agree with one another."""

    def __init__(self, connection: sqlite3.Connection, models_folder: Path) -> None:
        self._connection = connection
        self._folder = models_folder

    def models(self, wanted: Wanted | None = None) -> list[ModelEntry]:
        """By series, the newest version first."""
        wanted = wanted or Wanted()
        where = {"kind": wanted.kind, "role": wanted.series, "deployment_status": wanted.status}
        given = {name: value for name, value in where.items() if value is not None}
        return [ModelEntry.model_validate(row) for row in rows.model_rows(self._connection, self._folder, given)]

    def model(self, name: str) -> ModelEntry:
        """By its name, or by `series@alias`. Raises Missing."""
        known = rows.resolved(self._connection, name)
        found = rows.model_rows(self._connection, self._folder, {"name": known}) if known else []
        if not found:
            raise Missing(f"there is no model {name!r}; `gtftctl model list` shows those that there are")
        return ModelEntry.model_validate(found[0])

    def transitions(self, name: str) -> list[Transition]:
        """The oldest first."""
        sql = "SELECT model, previous, status, by, why, at FROM model_transitions WHERE model = ? ORDER BY seq"
        return [
            Transition(model=row[0], previous=row[1], status=row[2], by=row[3], why=row[4], at=_moment(row[5]))
            for row in self._connection.execute(sql, (name,))
        ]

    def deployments(self, role: str | None = None, rig: str | None = None) -> list[Deployment]:
        """The oldest first; `rig` '' is the whole town, None everything."""
        given = [(name, value) for name, value in (("role", role), ("rig", rig)) if value is not None]
        where = " AND ".join(f"{name} = ?" for name, _ in given) or "1"
        sql = f"SELECT id, action, role, rig, model, previous, by, why, at FROM deployments WHERE {where} ORDER BY seq"
        return [
            Deployment(
                id=row[0], action=row[1], role=row[2], rig=row[3] or None, model=row[4], previous=row[5], by=row[6],
                why=row[7], at=_moment(row[8]),
            )
            for row in self._connection.execute(sql, [value for _, value in given])
        ]  # fmt: skip

    def served_before(self, role: str, rig: str) -> list[str | None]:
        """What a rollback leads back to, the nearest last: deployments are put on a pile, rollbacks take off it."""
        pile: list[str | None] = []
        for one in self.deployments(role, rig):
            if one.action == "rollback":
                while pile and pile[-1] != one.model:
                    pile.pop()
                if not pile:
                    pile.append(one.model)
            elif not pile or pile[-1] != one.model:
                pile.append(one.model)
        return pile[:-1]

    def serving(self, role: str, rig: str) -> str | None:
        """The model that the last decision for this very place names."""
        sql = "SELECT model FROM deployments WHERE role = ? AND rig = ? ORDER BY seq DESC LIMIT 1"
        row = self._connection.execute(sql, (role, rig)).fetchone()
        return None if row is None else row[0]

    def serves_where(self, name: str) -> list[tuple[str, str]]:
        """Role and rig of every place that it serves."""
        sql = "SELECT series, rig FROM model_aliases WHERE alias = ? AND model = ? ORDER BY series, rig"
        return [(row[0], row[1]) for row in self._connection.execute(sql, (ACTIVE, name))]

    def evaluations(self, name: str) -> list[Evaluation]:
        """The newest first."""
        sql = "SELECT id, suite, at FROM evaluations WHERE model = ? ORDER BY at DESC, id"
        return [
            Evaluation(
                id=id_, model=name, suite=suite, at=_moment(at), scores=self._scores(id_), items=self._items(id_)
            )
            for id_, suite, at in self._connection.execute(sql, (name,)).fetchall()
        ]

    def made_from(self, source: str) -> list[tuple[str, str]]:
        """Models that were made of this (a snapshot, a base, a job, a model), and how."""
        sql = "SELECT model, relation FROM lineage WHERE source = ? ORDER BY model, relation"
        return [(row[0], row[1]) for row in self._connection.execute(sql, (source,))]

    def sources(self, name: str) -> list[tuple[str, str]]:
        """What a model was made of: relation and name or digest."""
        sql = "SELECT relation, source FROM lineage WHERE model = ? ORDER BY relation, source"
        return [(row[0], row[1]) for row in self._connection.execute(sql, (name,))]

    def prunable(self, role: str | None, keep: int) -> list[ModelEntry]:
        """Those that neither serve nor have a name nor are the way back, but for the newest `keep` of each series."""
        stay = {model for role_, rig in self._served_places() for model in self.served_before(role_, rig)[-1:]}
        chosen: list[ModelEntry] = []
        seen: Counter[tuple[str, str]] = Counter()
        for model in self.models(Wanted(series=role)):
            seen[model.kind, model.role] += 1
            if seen[model.kind, model.role] <= keep or model.artifact_path is None:
                continue
            if not (model.deployed_to or model.aliases or model.deployment_status in SERVING or model.name in stay):
                chosen.append(model)
        needed = {name for model in self.models() if model not in chosen for name in _needs(model)}
        return [model for model in chosen if model.name not in needed]

    def stored_bytes(self, names: Sequence[str]) -> int:
        """What the artifacts of these models take."""
        digests = {self.model(name).artifact for name in names}
        sql = f"SELECT SUM(size_bytes) FROM artifacts WHERE digest IN ({','.join('?' * len(digests))})"
        return int(self._connection.execute(sql, list(digests)).fetchone()[0] or 0)

    def _served_places(self) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in self._connection.execute("SELECT DISTINCT role, rig FROM deployments")]

    def removed_artifacts(self) -> list[str]:
        return [row[0] for row in self._connection.execute("SELECT digest FROM artifacts WHERE removed_at IS NOT NULL")]

    def jobs(self, state: JobState | None = None, limit: int = 100) -> list[TrainingJob]:
        """The newest first."""
        return listed(self._connection, state, limit)

    def job(self, id_: str) -> TrainingJob:
        """Raises Missing."""
        return read(self._connection, id_)

    def is_removed(self, digest: str) -> bool:
        sql = "SELECT 1 FROM artifacts WHERE digest = ? AND removed_at IS NOT NULL"
        return self._connection.execute(sql, (digest,)).fetchone() is not None

    def _scores(self, evaluation: str) -> dict[str, Score]:
        found = rows.score_rows(self._connection, evaluation)
        return {category: Score.model_validate(row) for category, row in found.items()}

    def _items(self, evaluation: str) -> tuple[EvalItem, ...]:
        sql = "SELECT item, category, passed FROM eval_items WHERE evaluation = ? ORDER BY item"
        return tuple(
            EvalItem(item=row[0], category=row[1], passed=bool(row[2]))
            for row in self._connection.execute(sql, (evaluation,))
        )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _needs(model: ModelEntry) -> tuple[str, ...]:
    """Whose bytes it cannot do without: the adapters in it, and of a task's adapter the model that it is stacked on."""
    return (*model.lora_adapters, *((model.parent,) if model.kind == "task" and model.parent else ()))
