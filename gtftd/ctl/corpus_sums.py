"""The numbers behind `gtftctl corpus stats`: rows of `state.db` added up, and what only the entries tell."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from gtftd.control.listing import entries_folder, entry_path, reading
from gtftd.ctl.corpus_counts import DIMENSIONS
from gtftd.schemas.corpus_views import LabelsResult, StatsResult, Sums

SENT_BACK = (
    "rejected or failed, and yet completed: these beads are merge requests; who sends work back has done its own work. "
    "The work that was sent back has its own bead, and its own label"
)
_AGAINST = ("rejected", "reverted", "failed", "lost", "abandoned")
"""Reasons that speak against the work."""
BETWEEN = "\x1f"
"""Between the values of a pair: it stands in no name."""
_MASKED = re.compile(rb',"masked":"([a-z_]+)","violations":')
_VIOLATIONS = re.compile(rb',"violations":\[("[^\]]*)\]')
_REDACTIONS = b'],"redactions":{'
_COLUMNS = {"label": "outcome"}
_SUMS = "count(*), sum(trainable), sum(messages), sum(violations), sum(redactions), sum(size_bytes)"
_OPEN_DOUBTS = "SELECT count(DISTINCT digest) FROM doubts WHERE digest NOT IN (SELECT digest FROM verdicts)"


def read_stats(state_dir: Path, by: Sequence[str] | None = None) -> StatsResult:
    """Of every dimension alone, with what redactions and violations were; or only by one, or by a pair of them."""
    folder = entries_folder(state_dir)
    with reading(state_dir) as connection:
        total = _sums(connection.execute(f"SELECT {_SUMS} FROM entries").fetchone())
        if by is not None:
            return StatsResult(folder=str(folder), total=total, by={" ".join(by): _grouped(connection, by)})
        told = connection.execute("SELECT sha256, failures FROM entries").fetchall()
        inside = _Inside()
        for sha256, failures in told:
            inside.failures.update(filter(None, failures.split(",")))
            inside.add(entry_path(folder, sha256))
        return StatsResult(
            folder=str(folder),
            total=total,
            by={name: _grouped(connection, (name,)) for name in DIMENSIONS},
            redactions=_ordered(inside.redactions),
            masked=_ordered(inside.masked),
            violations=_ordered(inside.violations),
            failures=_ordered(inside.failures),
            doubts=connection.execute(_OPEN_DOUBTS).fetchone()[0],
            snapshots=tuple(_snapshots(state_dir)),
        )


def read_labels(state_dir: Path) -> LabelsResult:
    """Every closed bead once: the class of the last reason that was given, the label that evidence gave it."""
    from gtftd.corpus.reasons import classify
    from gtftd.ctl.corpus_closed import closed_beads

    with reading(state_dir) as connection:
        beads = closed_beads(connection, entries_folder(state_dir))
    counts: dict[str, Counter[str]] = {}
    for bead in beads:
        if bead.label is not None:
            counts.setdefault(classify(bead.reason).name, Counter())[bead.label] += 1
    return LabelsResult(
        closed=len(beads),
        unlabelled=sum(bead.label is None for bead in beads),
        counts={name: _ordered(told) for name, told in counts.items()},
        notes=(SENT_BACK,) if any("completed" in counts.get(name, ()) for name in _AGAINST) else (),
    )


class _Inside:
    """What rows only count, out of the entries themselves: found in their canonical bytes, where no quote of a text
    stands unescaped. Reading hundreds of megabytes as JSON for a few words would take five times as long.
    """

    def __init__(self) -> None:
        self.redactions: Counter[str] = Counter()
        self._masked: Counter[bytes] = Counter()
        self._violations: Counter[bytes] = Counter()
        self.failures: Counter[str] = Counter()

    def add(self, path: Path) -> None:
        """A file that went meanwhile was superseded: it counts no more."""
        try:
            content = path.read_bytes()
        except OSError:
            return
        start = content.rfind(_REDACTIONS)
        if start >= 0:
            counted = json.loads(content[start + len(_REDACTIONS) - 1 : content.index(b"}", start) + 1])
            self.redactions.update(counted)
        self._masked.update(_MASKED.findall(content))
        self._violations.update(_VIOLATIONS.findall(content))

    @property
    def masked(self) -> Counter[str]:
        return Counter({name.decode(): count for name, count in self._masked.items()})

    @property
    def violations(self) -> Counter[str]:
        """The rules of one turn stand together."""
        told: Counter[str] = Counter()
        for rules, count in self._violations.items():
            told.update(dict.fromkeys(json.loads(b"[" + rules + b"]"), count))
        return told


def _grouped(connection: sqlite3.Connection, by: Sequence[str]) -> dict[str, Sums]:
    """The largest first. What has no value, as a session without a rig, is `-`."""
    columns = ", ".join(f"coalesce(nullif({_COLUMNS.get(name, name)}, ''), '-')" for name in by)
    places = ", ".join(str(number + 1) for number in range(len(by)))
    sql = f"SELECT {columns}, {_SUMS} FROM entries GROUP BY {places} ORDER BY count(*) DESC, {places}"
    rows = connection.execute(sql).fetchall()
    return {BETWEEN.join(row[: len(by)]): _sums(row[len(by) :]) for row in rows}


def _sums(row: Sequence[int | None]) -> Sums:
    names = ("entries", "trainable", "messages", "violations", "redactions", "size_bytes")
    return Sums(**{name: value or 0 for name, value in zip(names, row, strict=True)})


def _ordered(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _snapshots(state_dir: Path) -> Iterator[str]:
    """Ids, the newest first: a snapshot exists when its manifest does."""
    found = list((state_dir / "snapshots").glob("*/manifest.json"))
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        yield path.parent.name
