"""What is on record besides sessions, assignments and closes: merge decisions, commits, exits, escalations, nudges."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Kind = Literal["decision", "request", "landed", "reverted", "exit", "escalated", "nudged", "estopped", "mass_death"]
SHA = re.compile(r"[0-9a-f]{7,64}")
_CHAIN = 8
"""Reverts of reverts that are followed: nobody goes to and fro more often."""
_IN_ONE_QUERY = 500


@dataclass(frozen=True)
class Finding:
    """One thing on record. `what` is a word of a closed vocabulary; `names` are ids of requests and commits."""

    kind: Kind
    at: datetime
    bead: str | None = None
    actor: str | None = None
    """Whose work it is about, where that is known."""
    since: datetime | None = None
    """When the work that it is about was handed in, where that is known."""
    what: str = ""
    names: tuple[str, ...] = ()
    reverted_by: str = ""
    """The commit that took it back."""
    reverted_at: datetime | None = None
    reverted_late: bool = False
    """After the days that count."""


@dataclass(frozen=True)
class Row:
    """One row of `findings`, as it is kept."""

    subject: str
    kind: str
    at: float
    said: Mapping[str, Any]


def keep(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Those that are there stay as they are."""
    values = [(row.subject, row.kind, row.at, json.dumps(row.said, sort_keys=True)) for row in rows]
    connection.executemany("INSERT OR IGNORE INTO findings VALUES (?, ?, ?, ?)", values)


def beads_of_commits(connection: sqlite3.Connection, commits: Sequence[str]) -> list[str]:
    """The beads in whose names these commits, or the commits that these took back, were made."""
    found: set[str] = set()
    wanted = list(dict.fromkeys(commits))
    for _ in range(_CHAIN):
        rows = _load(connection, [f"commit:{sha}" for sha in wanted], ("names", "reverts"))
        found.update(row.said["bead"] for row in rows if row.kind == "names")
        wanted = [row.said["commit"] for row in rows if row.kind == "reverts"]
        if not wanted:
            break
    return sorted(found)


def of_beads(connection: sqlite3.Connection, beads: Sequence[str], revert_days: float) -> list[Finding]:
    """Everything that names one of the beads, with what became of the commits; by time."""
    rows = _load(connection, [f"bead:{bead}" for bead in beads])
    findings = [_finding(row) for row in rows]
    commits = {name for finding in findings for name in finding.names if SHA.fullmatch(name)}
    taken_back = _reversals(connection, sorted(commits))
    found = [_with_reversal(finding, taken_back, timedelta(days=revert_days)) for finding in findings]
    return sorted(found, key=lambda finding: (finding.at, finding.kind, finding.what, finding.names))


def of_agent(
    connection: sqlite3.Connection, subjects: Sequence[str], since: datetime | None, until: datetime | None
) -> list[Finding]:
    """What happened to an agent, its rig or its town within a time; by time."""
    low = since.timestamp() if since else 0.0
    high = until.timestamp() if until else float("inf")
    rows = [row for row in _load(connection, subjects) if low <= row.at <= high]
    return sorted((_finding(row) for row in rows), key=lambda finding: (finding.at, finding.kind, finding.what))


def _load(connection: sqlite3.Connection, subjects: Sequence[str], kinds: Sequence[str] = ()) -> list[Row]:
    rows: list[Row] = []
    for start in range(0, len(subjects), _IN_ONE_QUERY):
        part = subjects[start : start + _IN_ONE_QUERY]
        sql = f"SELECT subject, kind, at, said FROM findings WHERE subject IN ({','.join('?' * len(part))})"
        found = connection.execute(f"{sql} ORDER BY subject, kind, at, said", part)
        rows += [Row(subject, kind, at, json.loads(said)) for subject, kind, at, said in found]
    return [row for row in rows if not kinds or row.kind in kinds]


def _finding(row: Row) -> Finding:
    place, _, name = row.subject.partition(":")
    since = row.said.get("since")
    return Finding(
        kind=row.kind,  # type: ignore[arg-type]  # rows of other kinds hang on commits and are never read here
        at=_moment(row.at),
        bead=name if place == "bead" else row.said.get("bead"),
        actor=row.said.get("actor"),
        since=None if since is None else _moment(since),
        what=row.said.get("what", ""),
        names=tuple(row.said.get("names", ())),
    )


def _reversals(connection: sqlite3.Connection, commits: Sequence[str]) -> dict[str, tuple[datetime, str]]:
    """For each commit that was taken back for good: when first, and by which. A revert of the revert undoes it."""
    links: dict[str, list[tuple[float, str]]] = {}
    wanted = list(commits)
    for _ in range(_CHAIN):
        found = _load(connection, [f"commit:{sha}" for sha in wanted], ("reverted",))
        for row in found:
            links.setdefault(row.subject.removeprefix("commit:"), []).append((row.at, row.said["by"]))
        wanted = [row.said["by"] for row in found if row.said["by"] not in links]
        if not wanted:
            break

    def in_force(sha: str, depth: int = 0) -> tuple[float, str] | None:
        made = links.get(sha, ()) if depth < _CHAIN else ()
        return min((link for link in made if in_force(link[1], depth + 1) is None), default=None)

    standing = {sha: in_force(sha) for sha in commits}
    return {sha: (_moment(link[0]), link[1]) for sha, link in standing.items() if link is not None}


def _with_reversal(finding: Finding, taken_back: Mapping[str, tuple[datetime, str]], counts: timedelta) -> Finding:
    found = [taken_back[name] for name in finding.names if name in taken_back]
    if not found:
        return finding
    at, by = min(found)
    return replace(finding, reverted_at=at, reverted_by=by, reverted_late=at - finding.at > counts)


def swept(
    closes: Iterable[tuple[str, int, str | None, datetime]], *, beads: int, within_s: float
) -> set[tuple[str, int]]:
    """Which (bead, episode) of the closes belong to so many beads that one actor closed within so short a time."""
    by_closer: dict[str, list[tuple[datetime, str, int]]] = {}
    for bead, episode, closer, at in closes:
        if closer:
            by_closer.setdefault(closer, []).append((at, bead, episode))
    found: set[tuple[str, int]] = set()
    span = timedelta(seconds=within_s)
    for own in by_closer.values():
        own.sort()
        marked = 0
        for last in range(beads - 1, len(own)):
            if own[last][0] - own[last - beads + 1][0] <= span:
                found.update((bead, episode) for _, bead, episode in own[max(marked, last - beads + 1) : last + 1])
                marked = last + 1
    return found


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
