"""Closed beads with the reason that was given and the label that evidence gave: what `corpus stats --labels` counts."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from gtftd.control.listing import entry_path
from gtftd.schemas.corpus import Entry

_REASONS = "SELECT bead, reason FROM close_reasons ORDER BY bead, episode, at"
_OPERATIONAL = "SELECT bead, outcome, sha256 FROM entries WHERE kind = 'operational' AND bead IS NOT NULL"
_SESSIONS = """
SELECT bead, outcome FROM entries WHERE kind = 'session' AND bead IS NOT NULL
ORDER BY bead, episode, confidence
"""


@dataclass(frozen=True)
class ClosedBead:
    """`label` is None when no entry tells of the bead."""

    bead: str
    reason: str
    label: str | None


def closed_beads(connection: sqlite3.Connection, folder: Path) -> list[ClosedBead]:
    """Those whose close was seen, and those that a document about a bead's life says are closed; each once.

    The document's label goes before those of sessions, the last episode's and surest of these before the others.
    """
    reasons: dict[str, str | None] = dict.fromkeys(row[0] for row in connection.execute("SELECT bead FROM closes"))
    labels: dict[str, str] = dict(connection.execute(_SESSIONS).fetchall())
    for bead, label, sha256 in connection.execute(_OPERATIONAL).fetchall():
        entry = _read(entry_path(folder, sha256))
        if entry is None or any(fact.kind == "not_closed" for fact in entry.outcome.evidence):
            continue
        labels[bead] = label
        said = [fact.detail for fact in entry.outcome.evidence if fact.kind == "close_reason"]
        reasons[bead] = said[-1] if said else reasons.get(bead)
    for bead, reason in connection.execute(_REASONS):
        if bead in reasons:
            reasons[bead] = reason
    return [ClosedBead(bead, reason or "", labels.get(bead)) for bead, reason in sorted(reasons.items())]


def _read(path: Path) -> Entry | None:
    """None for one that was superseded meanwhile."""
    try:
        return Entry.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
