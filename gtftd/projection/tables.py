"""The tables in the town's database: their columns, the statements that make them, the texts that compare rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["key", "name", "text", "long", "integer", "real"]
Cell = str | int | float | bytes | None
POSITION = "gtftd_position"
VERSION_ROW = "tables"
"""The row of `gtftd_position` that says which of the steps below were taken."""
_TYPES: Mapping[Kind, str] = {
    "key": "VARCHAR(255) NOT NULL",
    "name": "VARCHAR(255)",
    "text": "TEXT",
    "long": "LONGTEXT",
    "integer": "BIGINT",
    "real": "DOUBLE",
}
# Byte by byte, so that ids that differ by case stay apart and pages come in SQLite's order.
_OPTIONS = "DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind


@dataclass(frozen=True)
class Table:
    """One mirrored table, by its name in the town."""

    name: str
    columns: tuple[Column, ...]

    @property
    def source(self) -> str:
        """The local view that it mirrors."""
        return f"{self.name}_rows"

    @property
    def key(self) -> str:
        return self.columns[0].name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def ddl(self) -> str:
        lines = [f"  `{column.name}` {_TYPES[column.kind]}" for column in self.columns]
        return _create(self.name, [*lines, f"  PRIMARY KEY (`{self.key}`)"])

    @property
    def as_json(self) -> str:
        """SQL that gives a local row as the triggers write it into the journal."""
        pairs = [f"'{name}', {name}" for name in self.names]
        return f"json_object({', '.join(pairs)})"

    def canonical(self, row: Mapping[str, Cell]) -> str:
        """The same text for the same row, whichever side it came from."""
        return json.dumps([_plain(column.kind, row.get(column.name)) for column in self.columns], ensure_ascii=False)


def _table(name: str, **columns: str) -> Table:
    """Keywords are kinds in any order of names; the key comes first."""
    kinds: dict[str, Kind] = {}
    for kind in ("key", "name", "text", "long", "integer", "real"):
        kinds |= dict.fromkeys(columns.get(f"{kind}s", "").split(), kind)
    return Table(name, tuple(Column(column, kind) for column, kind in kinds.items()))


def _create(name: str, lines: list[str]) -> str:
    return f"CREATE TABLE `{name}` (\n" + ",\n".join(lines) + f"\n) {_OPTIONS}"


TABLES = (
    _table(
        "model_registry",
        keys="name",
        names="kind role deployment_status base_digest tokenizer_sha256 parent job artifact artifact_path"
        " gtftd_version",
        texts="base_model corpus_hash snapshot",
        longs="lora_adapters compatible_with training_config conventions eval_scores_by_category deployed_to",
        integers="version examples dpo_pairs lora_rank",
        reals="eval_score trained_at created_at",
    ),
    _table(
        "training_jobs",
        keys="id",
        names="role kind objective state model bead corpus_bead",
        texts="snapshot",
        longs="config note",
        reals="created_at updated_at ended_at",
    ),
    _table(
        "dpo_preferences",
        keys="id",
        names="kind role rig bead chosen_sha256 rejected_sha256",
        texts="snapshot",
        longs="why",
        reals="weight created_at",
    ),
    _table(
        "corpus_entries",
        keys="entry_id",
        names="sha256 kind role rig bead outcome",
        texts="session_id task",
        integers="messages trainable size_bytes",
        reals="confidence started_at ended_at stored_at",
    ),
)  # fmt: skip
"""In the order in which a refill tells them."""
BY_NAME: Mapping[str, Table] = {table.name: table for table in TABLES}
_POSITION_DDL = _create(
    POSITION, ["  `writer` VARCHAR(255) NOT NULL", "  `seq` BIGINT NOT NULL", "  PRIMARY KEY (`writer`)"]
)
COLUMNS: Mapping[str, frozenset[str]] = {
    POSITION: frozenset({"writer", "seq"}),
    **{table.name: frozenset(table.names) for table in TABLES},
}
STEPS: tuple[tuple[int, Mapping[str, str]], ...] = (
    (1, {POSITION: _POSITION_DDL, **{table.name: table.ddl for table in TABLES}}),
)
"""Statements by table. Numbered and never edited: a change of a table is a step of its own."""
VERSION = STEPS[-1][0]


def read_row(text: str) -> dict[str, Cell]:
    """A row out of the journal. What no column can hold (an infinite number) is NULL."""
    found: dict[str, Cell] = json.loads(text)
    return {name: None if _is_infinite(value) else value for name, value in found.items()}


def _is_infinite(value: Cell) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _plain(kind: Kind, value: Cell) -> str | int | None:
    """Numbers as both sides can say them: SQLite's JSON gives 15 digits of a real one."""
    if value is None or _is_infinite(value):
        return None
    if kind == "integer":
        return int(value)
    if kind == "real":
        return format(float(value), ".15g")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
