"""Who taught an entry, and which entries our own models made (docs/decisions/0009-what-a-source-is.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from gtftd.corpus.snapshot.select import Row

ONE_AGENT = frozenset({"mayor", "deacon", "boot", "witness", "refinery"})
"""Roles that one agent holds for all: there the session is the source."""
_DAY_S = 86_400.0


def source_of(row: Row) -> str:
    """`actor:gastown/polecats/toast`, `session:0f3c...`, `file:9a1b...` for a curated example."""
    if row.kind == "curated":
        return row.origin or f"curated:{row.entry_id}"
    if row.actor and row.role not in ONE_AGENT:
        return f"actor:{row.actor}"
    return f"session:{row.session_id}" if row.session_id else f"entry:{row.entry_id}"


def is_own(row: Row, patterns: Sequence[str]) -> bool:
    """Whether one of our own models made it: by the agent's alias or by the model's name."""
    names = [name.lower() for name in (row.agent, row.model) if name]
    return any(fnmatchcase(name, pattern.lower()) for name in names for pattern in patterns)


def new_sources(rows: Iterable[Row], newest_at: float, days: float) -> set[str]:
    """Sources whose first work lies less than so many days before the newest work of all."""
    first: dict[str, float] = {}
    for row in rows:
        source = source_of(row)
        seen = row.started_at or row.at
        first[source] = min(seen, first.get(source, seen))
    return {source for source, at in first.items() if newest_at - at < days * _DAY_S}
