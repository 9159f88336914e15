"""Models as plain rows, read without pydantic: a list must be there in the time of a keystroke."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = "models"
"""Of the state directory: where artifacts lie."""
FIRST_VERSION = 7
"""Of state.db: the migration that made the registry."""
WHOLE_TOWN = "town"
ACTIVE = "active"
Row = dict[str, Any]
"""The fields of `ModelEntry`, as JSON knows them."""
_FIELDS = (
    "name", "kind", "role", "base_model", "base_digest", "tokenizer_sha256", "version", "corpus_hash", "snapshot",
    "parent", "job", "artifact", "examples", "dpo_pairs", "lora_rank", "lora_adapters", "compatible_with",
    "training_config", "conventions", "gtftd_version", "eval_score", "deployment_status", "trained_at", "created_at",
)  # fmt: skip
_COLUMNS = {"role": "series", "deployment_status": "status"}
_BRIEF = (
    "name", "role", "base_model", "version", "eval_score", "deployment_status", "compatible_with", "artifact",
)  # fmt: skip
_SCORE = ("score", "n", "low", "high")
_JSON = ("lora_adapters", "compatible_with", "training_config", "conventions")


def model_rows(connection: sqlite3.Connection, folder: Path, where: Mapping[str, object]) -> list[Row]:
    """Models whose columns have these values, whole; by series, the newest version first."""
    rows = _selected(connection, _FIELDS, where)
    scores = _latest_scores(connection, str(where["name"]) if "name" in where else None)
    for row in rows:
        row |= {field: json.loads(row[field]) for field in _JSON}
        row["trained_at"], row["created_at"] = _moment(row["trained_at"]), _moment(row["created_at"])
        row["eval_scores_by_category"] = scores.get(row["name"], {})
    return _placed(connection, folder, rows)


def brief_rows(connection: sqlite3.Connection, folder: Path, where: Mapping[str, object]) -> list[Row]:
    """The same models, but only what a table shows of them."""
    rows = _selected(connection, _BRIEF, where)
    for row in rows:
        row["compatible_with"] = json.loads(row["compatible_with"])
    return _placed(connection, folder, rows)


def _selected(connection: sqlite3.Connection, fields: Sequence[str], where: Mapping[str, object]) -> list[Row]:
    columns = ", ".join(_COLUMNS.get(name, name) for name in fields)
    condition = " AND ".join(f"{_COLUMNS.get(name, name)} = ?" for name in where) or "1"
    sql = f"SELECT {columns} FROM models WHERE {condition} ORDER BY series, kind, version DESC"
    return [dict(zip(fields, row, strict=True)) for row in connection.execute(sql, list(where.values()))]


def _placed(connection: sqlite3.Connection, folder: Path, rows: list[Row]) -> list[Row]:
    """With where they lie, serve, and what they are called."""
    stored = {row[0] for row in connection.execute("SELECT digest FROM artifacts WHERE removed_at IS NULL")}
    sql = "SELECT model, rig FROM model_aliases WHERE alias = ? ORDER BY rig"
    places = _grouped((row[0], row[1] or WHOLE_TOWN) for row in connection.execute(sql, (ACTIVE,)))
    sql = "SELECT model, alias FROM model_aliases WHERE alias != ? ORDER BY alias"
    aliases = _grouped((row[0], row[1]) for row in connection.execute(sql, (ACTIVE,)))
    for row in rows:
        name = row["name"]
        row["artifact_path"] = f"{folder}/{row['artifact']}" if row["artifact"] in stored else None
        row["deployed_to"], row["aliases"] = places.get(name, []), aliases.get(name, [])
    return rows


def _latest_scores(connection: sqlite3.Connection, model: str | None) -> dict[str, dict[str, Row]]:
    """By model (all of them without one) and category, of its last examination."""
    sql = """SELECT e.model, s.category, s.score, s.n, s.low, s.high
             FROM evaluations e JOIN eval_scores s ON s.evaluation = e.id
             WHERE ? IN (e.model, '') ORDER BY e.model, e.at, e.id, s.category"""
    found: dict[str, dict[str, Row]] = {}
    for name, category, *values in connection.execute(sql, (model or "",)):
        scores = found.setdefault(name, {})
        if category == "":  # the first of its examination, and a later one takes the place of an earlier one
            scores.clear()
        scores[category] = dict(zip(_SCORE, values, strict=True))
    return found


def score_rows(connection: sqlite3.Connection, evaluation: str) -> dict[str, Row]:
    """By category; '' is the whole suite."""
    sql = "SELECT category, score, n, low, high FROM eval_scores WHERE evaluation = ? ORDER BY category"
    return {row[0]: dict(zip(_SCORE, row[1:], strict=True)) for row in connection.execute(sql, (evaluation,))}


def resolved(connection: sqlite3.Connection, name: str) -> str | None:
    """The model that an alias stands for (`mayor@best`, `mayor@active/gastown`, `mayor@latest`), or the name itself."""
    series, at, alias = name.partition("@")
    if not at:
        return name
    alias, _, rig = alias.partition("/")
    if alias == "latest":
        sql = "SELECT name FROM models WHERE series = ? ORDER BY version DESC LIMIT 1"
        row = connection.execute(sql, (series,)).fetchone()
    else:
        sql = "SELECT model FROM model_aliases WHERE series = ? AND alias = ? AND rig = ?"
        row = connection.execute(sql, (series, alias, rig)).fetchone()
    return row[0] if row else None


def series_of(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT DISTINCT series FROM models ORDER BY series")]


def flat(values: Mapping[str, Any], before: str = "") -> Row:
    """Nested settings under dotted names."""
    found: Row = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        found[name].append(value)
    return found


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
