"""What is on record of sessions, assignments and closes: the rows as values, and how they are read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gtftd.corpus.findings import Finding
from gtftd.corpus.reasons import classify

SLACK = timedelta(seconds=2)
"""Between two sources that tell the time of one thing."""
TOGETHER = timedelta(minutes=5)
"""A death and the report that several died: gt looks that far back."""


@dataclass(frozen=True)
class Session:
    """One agent session; `ended_at` is None while nobody has said that it is over."""

    session_id: str
    transcript_path: str | None
    role: str | None
    rig: str | None
    actor: str | None
    agent: str | None
    run_id: str | None
    tmux_session: str | None
    work_bead: str | None
    cwd: str | None
    git_head: str | None
    started_at: datetime | None
    ended_at: datetime | None = None
    end_reason: str | None = None
    died: bool = False


@dataclass(frozen=True)
class Change:
    """An agent got a bead or let go of it."""

    bead: str
    actor: str
    at: datetime
    change: str


@dataclass(frozen=True)
class Close:
    """One close of a bead: the end of an episode."""

    bead: str
    episode: int
    database: str
    closed_at: datetime
    closed_by: str | None
    assignee: str | None
    title: str
    issue_type: str
    reason: str
    reopened: bool = False
    swept: bool = False
    """One of so many that its closer closed at once that nobody can have looked at each."""


@dataclass(frozen=True)
class Known:
    """Everything on record that bears on one session."""

    session: Session
    changes: tuple[Change, ...]
    closes: tuple[Close, ...]
    findings: tuple[Finding, ...] = ()


_SESSIONS = """
SELECT session_id, transcript_path, role, rig, actor, agent, run_id, tmux_session, work_bead, cwd, git_head,
       started_at, ended_at, end_reason, died
FROM sessions_seen
"""

_CLOSES = """
SELECT c.bead, c.episode, c.database, c.closed_at, c.closed_by, c.assignee, c.title, c.issue_type,
       (SELECT json_group_array(r.reason) FROM (SELECT reason FROM close_reasons r WHERE r.bead = c.bead
        AND r.episode = c.episode ORDER BY r.at, r.reason) r),
       EXISTS (SELECT 1 FROM reopenings o WHERE o.bead = c.bead AND o.episode > c.episode)
           OR EXISTS (SELECT 1 FROM closes n WHERE n.bead = c.bead AND n.episode > c.episode)
FROM closes c
"""

# A session that began with a bead on its hook is an assignment, if nobody told of one.
_CHANGES = """
SELECT bead, actor, at, change FROM assignments WHERE bead IN ({marks})
UNION ALL
SELECT work_bead, actor, started_at, 'assigned' FROM sessions s WHERE work_bead IN ({marks}) AND actor IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.bead = s.work_bead AND a.actor = s.actor)
ORDER BY 3, 4, 2
"""

# What was given before the bead's last close, which came before the session, was over when the session began.
_OVER = """(
    EXISTS (SELECT 1 FROM closes c WHERE c.bead = {bead} AND c.closed_at >= {at} AND c.closed_at < :since)
    AND NOT EXISTS (SELECT 1 FROM closes c WHERE c.bead = {bead} AND c.closed_at >= :since))"""

_BEADS = f"""
SELECT a.bead FROM assignments a
WHERE a.actor = :actor AND a.at <= :until AND NOT {_OVER.format(bead="a.bead", at="a.at")}
UNION SELECT s.work_bead FROM sessions s
WHERE s.actor = :actor AND s.work_bead IS NOT NULL AND s.started_at <= :until
AND NOT {_OVER.format(bead="s.work_bead", at="s.started_at")}
UNION SELECT bead FROM closes WHERE closed_by = :actor AND closed_at BETWEEN :since AND :until
UNION SELECT bead FROM closes WHERE assignee = :actor AND closed_at BETWEEN :since AND :until
ORDER BY 1
"""


def sessions_around(connection: sqlite3.Connection, tmux: str | None, at: float, besides: str = "") -> list[str]:
    """The sessions in this tmux session that began just before and after a moment: an end may be of any of them."""
    sql = "SELECT session_id FROM sessions WHERE tmux_session = ? AND started_at {} ? AND session_id <> ?"
    sql += " ORDER BY started_at {}, session_id {} LIMIT 2"
    found = [sql.format("<=", "DESC", "DESC"), sql.format(">", "ASC", "ASC")]
    return [row[0] for query in found for row in connection.execute(query, (tmux, at, besides))]


def beads_of(connection: sqlite3.Connection, session: Session) -> list[str]:
    """Those that its agent may have had to do with while it lived; what came and went before or after is not read."""
    since = (session.started_at - SLACK).timestamp() if session.started_at else 0.0
    is_over = session.ended_at is not None and session.end_reason != "quiet"
    until = (session.ended_at + SLACK).timestamp() if session.ended_at and is_over else float("inf")
    values = {"actor": session.actor, "since": since, "until": until}
    return [row[0] for row in connection.execute(_BEADS, values)]


def read_sessions(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[Session]:
    rows = connection.execute(f"{_SESSIONS} WHERE {where} ORDER BY started_at, session_id", values)
    return [_session(row) for row in rows]


def read_changes(connection: sqlite3.Connection, beads: Sequence[str]) -> list[Change]:
    rows = connection.execute(_CHANGES.format(marks=marks(beads)), (*beads, *beads))
    return [Change(bead, who, moment_of(at), change) for bead, who, at, change in rows]


def read_closes(connection: sqlite3.Connection, beads: Sequence[str]) -> list[Close]:
    rows = connection.execute(f"{_CLOSES} WHERE c.bead IN ({marks(beads)}) ORDER BY c.bead, c.episode", beads)
    return [_close(*row) for row in rows]


def marks(values: Sequence[object] | set[str]) -> str:
    return ",".join("?" * len(values))


def moment_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _close(bead: str, episode: int, database: str, closed_at: float, *rest: Any) -> Close:
    closed_by, assignee, title, issue_type, reasons, reopened = rest
    moment, reason = moment_of(closed_at), telling(json.loads(reasons))
    return Close(bead, episode, database, moment, closed_by, assignee, title, issue_type, reason, bool(reopened))


def telling(reasons: Sequence[str]) -> str:
    """Of the reasons of several closes in a row the last one that says anything."""
    return next((reason for reason in reversed(reasons) if classify(reason).name != "bare"), "") or (
        reasons[-1] if reasons else ""
    )


def _session(row: Sequence[Any]) -> Session:
    started, ended = (None if at is None else moment_of(at) for at in row[11:13])
    session_id, path, role, rig, actor, agent, run_id, tmux_session, work_bead, cwd, git_head = row[:11]
    return Session(
        session_id=session_id,
        transcript_path=path,
        role=role,
        rig=rig,
        actor=actor,
        agent=agent,
        run_id=run_id,
        tmux_session=tmux_session,
        work_bead=work_bead,
        cwd=cwd,
        git_head=git_head,
        started_at=started,
        ended_at=ended,
        end_reason=row[13],
        died=bool(row[14]),
    )
