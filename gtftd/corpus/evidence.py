"""What is known of sessions, assignments and closes. It may arrive in any order; what follows from it does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gtftd.schemas.town import (
    BeadAssigned,
    BeadClosed,
    BeadReleased,
    BeadReopened,
    BeadUpdated,
    SessionEnded,
    SessionStarted,
)
from gtftd.state import Database


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


class Evidence:
    """Every method may be called again with the same event: rows are keyed by what they say."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_session(self, event: SessionStarted) -> None:
        """Fill in what was unknown; a session resumed or compacted keeps its first start."""
        started = event.at.timestamp()
        row = (
            event.session_id,
            event.transcript_path,
            event.role,
            event.rig,
            event.actor,
            event.agent,
            event.run_id,
            event.tmux_session,
            event.work_bead,
            event.cwd,
            event.git_head,
            started,
            event.seen_by,
        )
        await self._database.write(lambda connection: connection.execute(_ADD_SESSION, row))

    async def add_end(self, event: SessionEnded) -> list[str]:
        """Keep the end; returns the sessions that it ends."""
        row = (
            event.session_id or "",
            "" if event.session_id else event.tmux_session or "",
            event.at.timestamp(),
            event.reason,
            int(event.died),
        )

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO session_ends VALUES (?, ?, ?, ?, ?)", row)
            if event.session_id:
                connection.execute(
                    "INSERT OR IGNORE INTO sessions (session_id, transcript_path, tmux_session, seen_by)"
                    " VALUES (?, ?, ?, ?)",
                    (event.session_id, event.transcript_path, event.tmux_session, event.seen_by),
                )

        await self._database.write(work)
        if event.session_id:
            return [event.session_id]
        found = await self.sessions("tmux_session = ?", event.tmux_session or "")
        return [session.session_id for session in found if session.ended_at == _moment(event.at.timestamp())]

    async def add_change(self, event: BeadAssigned | BeadReleased) -> None:
        change = event.how if isinstance(event, BeadReleased) else "assigned"
        row = (event.bead, event.actor, event.at.timestamp(), change, event.seen_by)
        await self._database.write(
            lambda connection: connection.execute("INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, ?)", row)
        )

    async def add_close(self, event: BeadClosed) -> None:
        closed = event.at.timestamp()
        row = (
            event.bead,
            event.episode,
            event.database,
            closed,
            event.closed_by,
            event.assignee,
            event.title,
            event.issue_type,
        )

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO closes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute(
                "INSERT OR IGNORE INTO close_reasons VALUES (?, ?, ?, ?)",
                (event.bead, event.episode, closed, event.reason),
            )

        await self._database.write(work)

    async def add_reason(self, event: BeadUpdated) -> None:
        """A closed bead was closed once more: the later reason counts."""
        row = (event.bead, event.episode, event.at.timestamp(), event.reason)
        await self._database.write(
            lambda connection: connection.execute("INSERT OR IGNORE INTO close_reasons VALUES (?, ?, ?, ?)", row)
        )

    async def add_reopening(self, event: BeadReopened) -> None:
        row = (event.bead, event.episode)
        await self._database.write(
            lambda connection: connection.execute("INSERT OR IGNORE INTO reopenings VALUES (?, ?)", row)
        )

    async def session(self, session_id: str) -> Session | None:
        found = await self.sessions("session_id = ?", session_id)
        return found[0] if found else None

    async def sessions(self, where: str, *values: object) -> list[Session]:
        """`where` is SQL of ours over the columns of `sessions`, `values` its parameters."""
        sql = f"{_SESSIONS} WHERE {where} ORDER BY started_at, session_id"
        rows = await self._database.read(lambda connection: connection.execute(sql, values).fetchall())
        return [_session(row) for row in rows]

    async def changes(self, *, beads: Sequence[str] = (), actor: str | None = None) -> list[Change]:
        """Of some beads, or of everything an agent was given, in order."""
        if actor is not None:
            sql, values = "SELECT DISTINCT bead FROM assignments WHERE actor = ?", (actor,)
            found = await self._database.read(lambda connection: connection.execute(sql, values).fetchall())
            beads = [row[0] for row in found]
        marks = ",".join("?" * len(beads))
        query = f"SELECT bead, actor, at, change FROM assignments WHERE bead IN ({marks}) ORDER BY at, change, actor"
        rows = await self._database.read(lambda connection: connection.execute(query, tuple(beads)).fetchall())
        return [Change(bead, who, _moment(at), change) for bead, who, at, change in rows]

    async def closes(self, beads: Sequence[str]) -> list[Close]:
        marks = ",".join("?" * len(beads))
        sql = f"{_CLOSES} WHERE c.bead IN ({marks}) ORDER BY c.bead, c.episode"
        rows = await self._database.read(lambda connection: connection.execute(sql, tuple(beads)).fetchall())
        return [_close(row) for row in rows]

    async def count_closes(self) -> tuple[int, int]:
        """How many closes are known, and for how many of them there is an entry."""
        sql = "SELECT count(*), count(e.bead) FROM closes c LEFT JOIN (SELECT DISTINCT bead, episode FROM entries) e"
        sql += " ON e.bead = c.bead AND e.episode = c.episode"
        row = await self._database.read(lambda connection: connection.execute(sql).fetchone())
        return int(row[0]), int(row[1])

    async def beads_closed_by(self, actor: str) -> list[str]:
        sql = "SELECT DISTINCT bead FROM closes WHERE closed_by = ? OR assignee = ?"
        rows = await self._database.read(lambda connection: connection.execute(sql, (actor, actor)).fetchall())
        return [row[0] for row in rows]


_ADD_SESSION = """
INSERT INTO sessions (session_id, transcript_path, role, rig, actor, agent, run_id, tmux_session, work_bead,
                      cwd, git_head, started_at, seen_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session_id) DO UPDATE SET
    transcript_path = coalesce(transcript_path, excluded.transcript_path),
    role = coalesce(role, excluded.role), rig = coalesce(rig, excluded.rig),
    actor = coalesce(actor, excluded.actor), agent = coalesce(agent, excluded.agent),
    run_id = coalesce(run_id, excluded.run_id), tmux_session = coalesce(tmux_session, excluded.tmux_session),
    work_bead = coalesce(work_bead, excluded.work_bead), cwd = coalesce(cwd, excluded.cwd),
    git_head = coalesce(git_head, excluded.git_head),
    started_at = min(coalesce(started_at, excluded.started_at), excluded.started_at)
"""

_SESSIONS = """
SELECT session_id, transcript_path, role, rig, actor, agent, run_id, tmux_session, work_bead, cwd, git_head,
       started_at, ended_at, end_reason, died
FROM sessions_seen
"""

_CLOSES = """
SELECT c.bead, c.episode, c.database, c.closed_at, c.closed_by, c.assignee, c.title, c.issue_type,
       coalesce((SELECT r.reason FROM close_reasons r WHERE r.bead = c.bead AND r.episode = c.episode
                 ORDER BY r.at DESC, r.reason DESC LIMIT 1), ''),
       EXISTS (SELECT 1 FROM reopenings o WHERE o.bead = c.bead AND o.episode > c.episode)
           OR EXISTS (SELECT 1 FROM closes n WHERE n.bead = c.bead AND n.episode > c.episode)
FROM closes c
"""


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _close(row: Sequence[Any]) -> Close:
    bead, episode, database, closed_at, closed_by, assignee, title, issue_type, reason, reopened = row
    moment = _moment(closed_at)
    return Close(bead, episode, database, moment, closed_by, assignee, title, issue_type, reason, bool(reopened))


def _session(row: Sequence[object]) -> Session:
    (text, times) = ([None if value is None else str(value) for value in row[:11]], row[11:13])
    started, ended = [None if value is None else _moment(float(str(value))) for value in times]
    session_id, path, role, rig, actor, agent, run_id, tmux_session, work_bead, cwd, git_head = text
    return Session(
        session_id=session_id or "",
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
        end_reason=None if row[13] is None else str(row[13]),
        died=bool(row[14]),
    )
