"""The statements that tell changes to the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from gtftd.projection.journal import Change
from gtftd.projection.tables import BY_NAME, Cell, Table


def grouped(changes: Iterable[Change]) -> Iterable[tuple[Table, bool, list[Change]]]:
    """Neighbours that one statement can tell; a statement works its rows off in their order."""
    for (name, is_removal), group in itertools.groupby(changes, lambda one: (one.table.name, one.row is None)):
        yield BY_NAME[name], is_removal, list(group)


def replacement(table: Table, group: Sequence[Change]) -> tuple[str, list[Cell]]:
    values = [(change.row or {}).get(name) for change in group for name in table.names]
    return replacing(table.name, table.names, len(group)), values


def removal(table: Table, group: Sequence[Change]) -> tuple[str, list[Cell]]:
    marks = ", ".join(["%s"] * len(group))
    return f"DELETE FROM `{table.name}` WHERE `{table.key}` IN ({marks})", [change.key for change in group]


def replacing(table: str, columns: Sequence[str], rows: int) -> str:
    """REPLACE, and not ON DUPLICATE KEY UPDATE: MySQL 8 warns of its VALUES(), and every server knows this."""
    names = ", ".join(f"`{name}`" for name in columns)
    marks = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * rows)
    return f"REPLACE INTO `{table}` ({names}) VALUES {marks}"
