"""What is known of sessions, assignments and closes. It may arrive in any order; what follows from it does not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gtftd.corpus import findings
from gtftd.corpus.findings import Finding, Row
from gtftd.corpus.reasons import classify
from gtftd.corpus.records import (
    SLACK,
    TOGETHER,
    Change,
    Close,
    Known,
    Session,
    beads_of,
    marks,
    moment_of,
    read_changes,
    read_closes,
    read_sessions,
    sessions_around,
)
from gtftd.schemas.settings import LabelSettings
from gtftd.schemas.town import (
    AgentNudged,
    BeadAssigned,
    BeadClosed,
    BeadReleased,
    BeadReopened,
    BeadUpdated,
    CommitsLanded,
    EscalationSent,
    EstopRaised,
    ExitReported,
    MergeDecided,
    SessionEnded,
    SessionsDied,
    SessionStarted,
)
from gtftd.state import Database
from gtftd.town.identity import normal_actor

__all__ = ["Change", "Close", "Evidence", "Known", "Session"]
_RANKS = {"hook": 0, "poll": 0, "emit": 1}
_LAST_RANK = 2


class Evidence:
    """Every method may be called again with the same event: rows are keyed by what they say."""

    def __init__(self, database: Database, labels: LabelSettings | None = None) -> None:
        self._database = database
        self._labels = labels or LabelSettings()

    async def add_session(self, event: SessionStarted) -> list[str]:
        """Returns the sessions for which it matters: this one, and its neighbours in the same tmux session."""
        said = event.model_dump(mode="json", include=set(_TOLD_OF_SESSION))
        said["actor"] = normal_actor(event.actor)
        at = event.at.timestamp()

        def work(connection: sqlite3.Connection) -> list[str]:
            _keep_account(connection, "session", event.session_id, event.seen_by, at, said)
            merged, times = _merged(connection, "session", event.session_id)
            values = (event.session_id, *(merged.get(name) for name in _TOLD_OF_SESSION), min(times), max(times))
            connection.execute(_SET_SESSION, values)
            return [
                event.session_id,
                *sessions_around(connection, merged.get("tmux_session"), min(times), event.session_id),
            ]

        return await self._database.write(work)

    async def work_beads(self, session_id: str) -> list[str]:
        """The beads that it was ever said to have begun with: to others who had them it is a taking over."""
        sql = "SELECT DISTINCT json_extract(said, '$.work_bead') FROM accounts WHERE kind = 'session' AND id = ?"
        rows = await self._database.read(lambda connection: connection.execute(sql, (session_id,)).fetchall())
        return sorted(row[0] for row in rows if row[0])

    async def add_end(self, event: SessionEnded) -> list[str]:
        """Keep the end; returns the sessions that it may have ended."""
        at = event.at.timestamp()
        tmux = "" if event.session_id else event.tmux_session or ""
        row = (event.session_id or "", tmux, at, event.reason, int(event.died))

        def work(connection: sqlite3.Connection) -> list[str]:
            connection.execute(_ADD_END, row)
            return [event.session_id] if event.session_id else sessions_around(connection, tmux, at)

        return await self._database.write(work)

    async def add_change(self, event: BeadAssigned | BeadReleased) -> None:
        change = event.how if isinstance(event, BeadReleased) else "assigned"
        row = (event.bead, normal_actor(event.actor) or event.actor, event.at.timestamp(), change, event.seen_by)
        await self._database.write(
            lambda connection: connection.execute("INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, ?)", row)
        )

    async def add_close(self, event: BeadClosed) -> list[str]:
        """Returns the other beads that it makes part of a sweep."""
        said = event.model_dump(mode="json", include={"database", "title", "issue_type"})
        said |= {"closed_by": normal_actor(event.closed_by), "assignee": normal_actor(event.assignee)}
        at, identity = event.at.timestamp(), f"{event.bead}#{event.episode}"

        def work(connection: sqlite3.Connection) -> list[str]:
            _keep_account(connection, "close", identity, event.seen_by, at, said | {"at": at})
            merged, _ = _merged(connection, "close", identity)
            values = (event.bead, event.episode, *(merged.get(name) for name in _TOLD_OF_CLOSE))
            closers = {merged.get("closed_by"), *_closers(connection, event)}
            before = self._swept_around(connection, closers, at)
            connection.execute(f"INSERT OR REPLACE INTO closes VALUES ({marks(values)})", values)
            _keep_reason(connection, event, at)
            changed = before ^ self._swept_around(connection, closers, at)
            return sorted({bead for bead, _ in changed} - {event.bead})

        return await self._database.write(work)

    async def add_reason(self, event: BeadUpdated) -> None:
        """A closed bead was closed once more: the later reason counts, also within one second."""
        at = event.at.timestamp() + 0.001
        await self._database.write(lambda connection: _keep_reason(connection, event, at))

    async def add_reopening(self, event: BeadReopened) -> None:
        row = (event.bead, event.episode)
        await self._database.write(
            lambda connection: connection.execute("INSERT OR IGNORE INTO reopenings VALUES (?, ?)", row)
        )

    async def add_decision(self, event: MergeDecided) -> list[str]:
        """Returns the beads that it is about: the work and the request."""
        names = [event.request, *(sha for sha in (event.commit_sha, event.merge_commit) if sha)]
        since = event.submitted_at.timestamp() if event.submitted_at else None
        said = {"what": _decision(event), "names": names, "actor": normal_actor(event.actor), "since": since}
        at = event.at.timestamp()
        rows = [Row(f"bead:{event.bead}", "decision", at, said), Row(f"bead:{event.request}", "request", 0.0, {})]
        rows += [Row(f"commit:{sha}", "names", at, {"bead": event.bead}) for sha in names[1:]]
        await self._database.write(lambda connection: findings.keep(connection, rows))
        return [event.bead, event.request]

    async def add_commits(self, event: CommitsLanded) -> list[str]:
        """Returns the beads in whose names the commits were made, and those whose commits were taken back."""
        rows: list[Row] = []
        for commit in event.commits:
            at, since = commit.landed_at.timestamp(), commit.authored_at.timestamp()
            said = {"names": [commit.sha], "actor": commit.actor, "since": since}
            rows.append(Row(f"bead:{commit.bead}", "landed", at, said))
            rows.append(Row(f"commit:{commit.sha}", "names", at, {"bead": commit.bead}))
        for revert in event.reverts:
            at = revert.at.timestamp()
            if revert.sha:
                rows.append(Row(f"commit:{revert.sha}", "reverted", at, {"by": revert.by}))
                rows.append(Row(f"commit:{revert.by}", "reverts", at, {"commit": revert.sha}))
            if revert.bead:
                rows.append(Row(f"bead:{revert.bead}", "reverted", at, {"names": [revert.by]}))
                rows.append(Row(f"commit:{revert.by}", "names", at, {"bead": revert.bead}))
        touched = [commit.sha for commit in event.commits] + [revert.by for revert in event.reverts]

        def work(connection: sqlite3.Connection) -> list[str]:
            findings.keep(connection, rows)
            return findings.beads_of_commits(connection, touched)

        return await self._database.write(work)

    async def add_exit(self, event: ExitReported) -> None:
        failed = [name for name in ("merge_failed", "push_failed") if getattr(event, name)]
        said = {"what": " ".join([event.exit_type, *failed]), "actor": normal_actor(event.actor)}
        await self._keep(Row(f"bead:{event.bead}", "exit", event.at.timestamp(), said))

    async def add_escalation(self, event: EscalationSent) -> list[str]:
        """Returns the sessions that it may have come from."""
        actor = normal_actor(event.actor) or event.actor
        await self._keep(Row(f"agent:{actor}", "escalated", event.at.timestamp(), {"bead": event.bead}))
        return await self._sessions_at(event.at, "actor = ?", actor)

    async def add_nudge(self, event: AgentNudged) -> list[str]:
        """Returns the sessions that it may have gone to."""
        actor = normal_actor(event.actor) or event.actor
        await self._keep(Row(f"agent:{actor}", "nudged", event.at.timestamp(), {}))
        return await self._sessions_at(event.at, "actor = ?", actor)

    async def add_estop(self, event: EstopRaised) -> list[str]:
        """Returns the sessions that it stopped."""
        subject = f"rig:{event.rig}" if event.rig else "town:"
        await self._keep(Row(subject, "estopped", event.at.timestamp(), {"what": "rig" if event.rig else "town"}))
        return await self._sessions_at(event.at, "rig = ?" if event.rig else "?", event.rig or 1)

    async def add_mass_death(self, event: SessionsDied) -> list[str]:
        """Returns the sessions in these terminals at that time."""
        rows = [Row(f"tmux:{name}", "mass_death", event.at.timestamp(), {}) for name in event.tmux_sessions]
        at = event.at.timestamp()

        def work(connection: sqlite3.Connection) -> list[str]:
            findings.keep(connection, rows)
            return sorted({found for name in event.tmux_sessions for found in sessions_around(connection, name, at)})

        return await self._database.write(work)

    async def _keep(self, *rows: Row) -> None:
        await self._database.write(lambda connection: findings.keep(connection, rows))

    async def _sessions_at(self, at: datetime, where: str, value: object) -> list[str]:
        """Those that lived at that time, as far as anybody knows."""
        lived = "started_at <= ? AND (ended_at IS NULL OR end_reason = 'quiet' OR ended_at >= ?)"
        values = (value, (at + SLACK).timestamp(), (at - SLACK).timestamp())
        sessions = await self._database.read(
            lambda connection: read_sessions(connection, f"{where} AND {lived}", values)
        )
        return [session.session_id for session in sessions]

    async def session(self, session_id: str) -> Session | None:
        known = await self.of_session(session_id)
        return known.session if known else None

    async def of_session(self, session_id: str) -> Known | None:
        """The session, and every bead that its agent was given, held, or closed while it lived."""

        def work(connection: sqlite3.Connection) -> Known | None:
            rows = read_sessions(connection, "session_id = ?", (session_id,))
            if not rows:
                return None
            session = rows[0]
            beads = beads_of(connection, session) if session.actor else []
            closes = self._marked(connection, read_closes(connection, beads))
            found = findings.of_beads(connection, beads, self._labels.revert_days) + _of_session(connection, session)
            return Known(session, tuple(read_changes(connection, beads)), tuple(closes), tuple(found))

        return await self._database.read(work)

    async def of_bead(self, bead: str) -> tuple[tuple[Change, ...], tuple[Close, ...], tuple[Finding, ...]]:
        """Everything on record of a bead, whoever worked on it."""

        def work(connection: sqlite3.Connection) -> tuple[tuple[Change, ...], tuple[Close, ...], tuple[Finding, ...]]:
            closes = self._marked(connection, read_closes(connection, [bead]))
            found = findings.of_beads(connection, [bead], self._labels.revert_days)
            return tuple(read_changes(connection, [bead])), tuple(closes), tuple(found)

        return await self._database.read(work)

    def _marked(self, connection: sqlite3.Connection, closes: list[Close]) -> list[Close]:
        """The closes, with those marked that belong to a sweep."""
        times: dict[str, list[datetime]] = {}
        for close in closes:
            if close.closed_by:
                times.setdefault(close.closed_by, []).append(close.closed_at)
        found: set[tuple[str, int]] = set()
        for closer, at in times.items():
            found |= self._swept(connection, closer, min(at).timestamp(), max(at).timestamp())
        return [replace(close, swept=True) if (close.bead, close.episode) in found else close for close in closes]

    def _swept_around(
        self, connection: sqlite3.Connection, closers: Iterable[str | None], at: float
    ) -> set[tuple[str, int]]:
        within = self._labels.mass_close_s
        return {
            one for closer in closers if closer for one in self._swept(connection, closer, at - within, at + within)
        }

    def _swept(self, connection: sqlite3.Connection, closer: str, since: float, until: float) -> set[tuple[str, int]]:
        limits, within = self._labels, self._labels.mass_close_s
        sql = "SELECT bead, episode, closed_by, closed_at FROM closes WHERE closed_by = ? AND closed_at BETWEEN ? AND ?"
        rows = connection.execute(sql, (closer, since - within, until + within))
        closes = [(bead, episode, by, moment_of(at)) for bead, episode, by, at in rows]
        return findings.swept(closes, beads=limits.mass_close_beads, within_s=within)

    async def sessions_of_bead(self, bead: str) -> list[Session]:
        """Those of everybody who had to do with the bead while it was worked on: the newest first."""

        def work(connection: sqlite3.Connection) -> list[Session]:
            changes, closes = read_changes(connection, [bead]), read_closes(connection, [bead])
            actors = {change.actor for change in changes}
            actors |= {actor for close in closes for actor in (close.assignee, close.closed_by) if actor}
            times = [change.at for change in changes] + [close.closed_at for close in closes]
            if not actors:
                return []
            where = f"actor IN ({marks(actors)}) AND (ended_at IS NULL OR end_reason = 'quiet' OR ended_at >= ?)"
            where += " AND (started_at IS NULL OR started_at <= ?)"
            latest = (max(times) + SLACK).timestamp() if _is_over(changes, closes) else float("inf")
            values = (*sorted(actors), (min(times) - SLACK).timestamp(), latest)
            return read_sessions(connection, where, values)[::-1]

        return await self._database.read(work)

    async def count_closes(self) -> tuple[int, int]:
        """How many closes are known, and for how many of them there is an entry."""
        sql = "SELECT count(*), count(e.bead) FROM closes c LEFT JOIN"
        sql += " (SELECT DISTINCT bead, episode FROM entries WHERE kind = 'session') e"
        sql += " ON e.bead = c.bead AND e.episode = c.episode"
        row = await self._database.read(lambda connection: connection.execute(sql).fetchone())
        return int(row[0]), int(row[1])


_TOLD_OF_SESSION = (
    "transcript_path", "role", "rig", "actor", "agent", "run_id", "tmux_session", "work_bead", "cwd", "git_head",
    "seen_by",
)  # fmt: skip
_TOLD_OF_CLOSE = ("database", "at", "closed_by", "assignee", "title", "issue_type")

_SET_SESSION = f"""
INSERT OR REPLACE INTO sessions (session_id, {", ".join(_TOLD_OF_SESSION)}, started_at, last_started_at)
VALUES (?{", ?" * len(_TOLD_OF_SESSION)}, ?, ?)
"""

_ADD_END = """
INSERT INTO session_ends VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET died = excluded.died, reason = excluded.reason
WHERE (excluded.died, excluded.reason) > (died, reason)
"""


def _of_session(connection: sqlite3.Connection, session: Session) -> list[Finding]:
    """What happened to the agent, its rig and the town while it lived, and to its terminal when it ended."""
    subjects = ["town:", *([f"agent:{session.actor}"] if session.actor else [])]
    subjects += [f"rig:{session.rig}"] if session.rig else []
    found = findings.of_agent(connection, subjects, session.started_at, session.ended_at)
    if session.died and session.tmux_session and session.ended_at:
        around = session.ended_at - TOGETHER, session.ended_at + TOGETHER
        found += findings.of_agent(connection, [f"tmux:{session.tmux_session}"], *around)
    return found


def _decision(event: MergeDecided) -> str:
    """merged, rejected or failed; nothing for a request that had become void."""
    label = classify(event.reason).label
    if event.merge_commit and label in {"merged", "completed"}:
        return "merged"
    return label if label in {"merged", "rejected", "failed"} else "void"


def _closers(connection: sqlite3.Connection, event: BeadClosed) -> list[str]:
    """Who closed the bead, as far as was known before this event."""
    sql = "SELECT closed_by FROM closes WHERE bead = ? AND episode = ?"
    return [row[0] for row in connection.execute(sql, (event.bead, event.episode))]


def _keep_account(
    connection: sqlite3.Connection, kind: str, identity: str, seen_by: str, at: float, said: dict[str, Any]
) -> None:
    row = (kind, identity, _RANKS.get(seen_by, _LAST_RANK), at, json.dumps(said, sort_keys=True))
    connection.execute("INSERT OR IGNORE INTO accounts VALUES (?, ?, ?, ?, ?)", row)


def _merged(connection: sqlite3.Connection, kind: str, identity: str) -> tuple[dict[str, Any], list[float]]:
    """Each field as the best source says it that says it at all, and all times."""
    sql = "SELECT at, said FROM accounts WHERE kind = ? AND id = ? ORDER BY rank, at, said"
    rows = connection.execute(sql, (kind, identity)).fetchall()
    merged: dict[str, Any] = {}
    for _, said in rows:
        for name, value in json.loads(said).items():
            if value not in (None, ""):
                merged.setdefault(name, value)
    return {"title": ""} | merged, [at for at, _ in rows]


def _keep_reason(connection: sqlite3.Connection, event: BeadClosed | BeadUpdated, at: float) -> None:
    row = (event.bead, event.episode, at, event.reason)
    connection.execute("INSERT OR IGNORE INTO close_reasons VALUES (?, ?, ?, ?)", row)


def _is_over(changes: Sequence[Change], closes: Sequence[Close]) -> bool:
    """Closed, and given to nobody since."""
    last = max((close.closed_at for close in closes), default=None)
    given = (change.at for change in changes if change.change == "assigned")
    return last is not None and all(at <= last for at in given)
