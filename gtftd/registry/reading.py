"""What the registry knows, read over one connection."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gtftd.errors import Invalid, Missing
from gtftd.schemas.registry import Deployment, EvalItem, Evaluation, ModelEntry, Score, Transition

WHOLE_TOWN = "town"
ACTIVE = "active"
_FIELDS = (
    "name", "kind", "series", "version", "status", "base_model", "base_digest", "tokenizer_sha256", "corpus_hash",
    "snapshot", "parent", "job", "artifact", "examples", "dpo_pairs", "lora_rank", "lora_adapters", "compatible_with",
    "training_config", "conventions", "gtftd_version", "eval_score", "trained_at", "created_at",
)  # fmt: skip
_JSON = ("lora_adapters", "compatible_with", "training_config", "conventions")
_SAME = ("kind", "base_model", "base_digest", "tokenizer_sha256", "version", "corpus_hash", "snapshot", "parent", "job",
         "artifact", "examples", "dpo_pairs", "lora_rank", "gtftd_version", "eval_score", "name")  # fmt: skip


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
        given = [(name, value) for name, value in vars(wanted).items() if value is not None]
        where = " AND ".join(f"{name} = ?" for name, _ in given) or "1"
        return self._entries(f"{where} ORDER BY series, version DESC", [value for _, value in given])

    def model(self, name: str) -> ModelEntry:
        """By its name, or by `series@alias`. Raises Missing."""
        found = self._entries("name = ?", [self.resolve(name)])
        if not found:
            raise Missing(f"there is no model {name!r}; `gtftctl model list` shows those that there are")
        return found[0]

    def resolve(self, name: str) -> str:
        """The model that an alias stands for: `mayor@best`, `mayor@active`, `mayor@active/gastown`."""
        series, at, alias = name.partition("@")
        if not at:
            return name
        alias, _, rig = alias.partition("/")
        sql = "SELECT model FROM model_aliases WHERE series = ? AND alias = ? AND rig = ?"
        row = self._connection.execute(sql, (series, alias, rig)).fetchone()
        if row is None:
            raise Missing(f"no model of {series} is called {alias!r}{f' in rig {rig}' if rig else ''}")
        return str(row[0])

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

    def removed_artifacts(self) -> list[str]:
        return [row[0] for row in self._connection.execute("SELECT digest FROM artifacts WHERE removed_at IS NOT NULL")]

    def _scores(self, evaluation: str) -> dict[str, Score]:
        sql = "SELECT category, score, n, low, high FROM eval_scores WHERE evaluation = ? ORDER BY category"
        return {
            row[0]: Score(score=row[1], n=row[2], low=row[3], high=row[4])
            for row in self._connection.execute(sql, (evaluation,))
        }

    def _items(self, evaluation: str) -> tuple[EvalItem, ...]:
        sql = "SELECT item, category, passed FROM eval_items WHERE evaluation = ? ORDER BY item"
        return tuple(
            EvalItem(item=row[0], category=row[1], passed=bool(row[2]))
            for row in self._connection.execute(sql, (evaluation,))
        )

    def _entries(self, where: str, values: Sequence[object]) -> list[ModelEntry]:
        sql = f"SELECT {', '.join(_FIELDS)} FROM models WHERE {where}"
        rows = [dict(zip(_FIELDS, row, strict=True)) for row in self._connection.execute(sql, values)]
        names = [row["name"] for row in rows]
        there, places, aliases = self._stored(), self._places(), self._aliases()
        scores = {name: self._latest_scores(name) for name in names}
        return [
            _entry(
                row,
                artifact_path=str(self._folder / row["artifact"]) if row["artifact"] in there else None,
                deployed_to=tuple(places[row["name"]]),
                aliases=tuple(aliases[row["name"]]),
                eval_scores_by_category=scores[row["name"]],
            )
            for row in rows
        ]

    def _stored(self) -> set[str]:
        return {row[0] for row in self._connection.execute("SELECT digest FROM artifacts WHERE removed_at IS NULL")}

    def _places(self) -> Mapping[str, list[str]]:
        sql = "SELECT model, rig FROM model_aliases WHERE alias = ? ORDER BY rig"
        return _grouped((row[0], row[1] or WHOLE_TOWN) for row in self._connection.execute(sql, (ACTIVE,)))

    def _aliases(self) -> Mapping[str, list[str]]:
        sql = "SELECT model, alias FROM model_aliases WHERE alias != ? ORDER BY alias"
        return _grouped((row[0], row[1]) for row in self._connection.execute(sql, (ACTIVE,)))

    def _latest_scores(self, name: str) -> dict[str, Score]:
        sql = "SELECT id FROM evaluations WHERE model = ? ORDER BY at DESC, id LIMIT 1"
        row = self._connection.execute(sql, (name,)).fetchone()
        return self._scores(row[0]) if row else {}


def series_of(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT DISTINCT series FROM models ORDER BY series")]


def _entry(row: Mapping[str, Any], **known: Any) -> ModelEntry:
    given = {name: row[name] for name in _SAME} | {name: json.loads(row[name]) for name in _JSON}
    return ModelEntry.model_validate(
        given
        | known
        | {
            "role": row["series"],
            "deployment_status": row["status"],
            "trained_at": _moment(row["trained_at"]),
            "created_at": _moment(row["created_at"]),
        }
    )


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        found[name].append(value)
    return found


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def check_series(connection: sqlite3.Connection, series: str | None) -> None:
    """Raises Invalid for a role of which there is no model: it is a slip of the keys more often than a question."""
    if series is None:
        return
    known = series_of(connection)
    if known and series not in known:
        raise Invalid(f"there is no model of {series!r}; there are models of {', '.join(known)}")
