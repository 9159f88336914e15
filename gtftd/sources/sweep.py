"""The sweep: finds the transcripts and closes that every other source missed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gtftd.errors import NotReady, Retriable, Unreachable
from gtftd.logs import get_logger
from gtftd.schemas.event import event_id
from gtftd.schemas.settings import SweepSettings
from gtftd.schemas.town import SessionEnded, SessionStarted
from gtftd.sources.missed_closes import ClosedBeads, missed_closes, read_known_closes
from gtftd.sources.strays import Stray, TranscriptScan
from gtftd.sources.surroundings import LatestTown, Patience, Surroundings
from gtftd.state.crash import crash_point
from gtftd.state.outbox import Outgoing, already_told, forget_told, read_cursor, tell, write_cursor
from gtftd.town.identity import identity_of_path
from gtftd.town.transcript import written_at

log = get_logger("sweep")
SOURCE = "sweep"
FIRST_AFTER_S = 5.0
UNASKED_TIMES = 96
"""While tmux cannot be asked, a session that may live in it must be quiet so many times as long: a day, as a rule."""
_DAY_S = 86_400.0

TmuxSessions = Callable[[], Awaitable[frozenset[str] | None]]
"""The names of the town's living tmux sessions; None where tmux can't be asked."""
Databases = Callable[[], Awaitable[Sequence[str]]]
"""The beads databases that may be read."""


@dataclass(frozen=True)
class Beads:
    """How to ask for closes."""

    source: ClosedBeads
    databases: Databases


@dataclass(frozen=True)
class OpenSession:
    """A session on record that has not ended."""

    session_id: str
    transcript_path: str | None
    tmux_session: str | None
    started_at: float | None


class Sweep:
    """Tells each fact once, whatever becomes of it afterwards: what was told is kept beside the facts."""

    def __init__(
        self,
        around: Surroundings,
        settings: SweepSettings,
        *,
        transcripts: Path,
        tmux_sessions: TmuxSessions,
        beads: Beads | None,
    ) -> None:
        self._around = around
        self._settings = settings
        self._transcripts = transcripts
        """The spool's second names of transcripts."""
        self._tmux_sessions = tmux_sessions
        self._beads = beads
        self._town = LatestTown(around)
        self._patience = Patience(SOURCE, around)
        self._scan = TranscriptScan()

    async def run(self) -> None:
        if not self._settings.enabled:
            self._around.health.off(SOURCE, "switched off in the configuration")
            return
        await self._remember_start()
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            try:
                await self.step()
            except Retriable as error:
                await self._patience.bear(error)
            else:
                self._patience.over()
                self._around.health.ok(SOURCE)
                await asyncio.sleep(self._settings.every_s)

    async def _remember_start(self) -> None:
        """At once: the first life of a daemon may be too short for a sweep."""
        while True:
            try:
                await self._closes_after()
            except Retriable as error:
                await self._patience.bear(error)
            else:
                return

    async def step(self) -> int:
        """Sweep once; returns how many facts were new."""
        strays = await self._strays()
        missed = await self._missed_sessions(strays)
        ended = await self._quiet_sessions(strays)
        sessions = await self._tell(missed)
        quiet = await self._tell(ended)
        closes = await self._tell(await self._missed_closes())
        self._around.metrics.missed.labels(what="session").inc(sessions)
        self._around.metrics.missed.labels(what="close").inc(closes)
        if sessions or quiet or closes:
            log.info("sweep.found", sessions=sessions, quiet=quiet, closes=closes)
        return sessions + quiet + closes

    async def _strays(self) -> dict[str, Stray]:
        town = await asyncio.to_thread(self._town.read)
        since = self._around.clock() - self._settings.look_back_days * _DAY_S
        return await asyncio.to_thread(self._scan.scan, town, since)

    async def _missed_sessions(self, strays: Mapping[str, Stray]) -> list[Outgoing]:
        limit = self._around.clock() - self._settings.grace_s
        old = [stray for stray in strays.values() if _began(stray) <= limit]
        ids = [stray.session_id for stray in old]
        known = await self._around.database.read(lambda connection: read_known_sessions(connection, ids))
        return [_started(stray) for stray in old if stray.session_id not in known]

    async def _quiet_sessions(self, strays: Mapping[str, Stray]) -> list[Outgoing]:
        open_sessions = await self._around.database.read(read_open_sessions)
        if not open_sessions:
            return []
        living = await self._tmux_sessions()
        return await asyncio.to_thread(self._quiet, open_sessions, strays, living)

    def _quiet(
        self, open_sessions: Sequence[OpenSession], strays: Mapping[str, Stray], living: frozenset[str] | None
    ) -> list[Outgoing]:
        now = self._around.clock()
        found = []
        for session in open_sessions:
            if living is not None and session.tmux_session in living:
                continue
            last = self._last_sign(session, strays.get(session.session_id))
            may_live = living is None and session.tmux_session is not None
            if last <= now - self._settings.quiet_s * (UNASKED_TIMES if may_live else 1):
                found.append(_ended(session, last))
        return found

    def _last_sign(self, session: OpenSession, stray: Stray | None) -> float:
        """When the session was heard of last, Unix seconds."""
        names = [self._transcripts / f"{Path(session.session_id).name}.jsonl"]
        if session.transcript_path:
            names.append(Path(session.transcript_path))
        signs = [at for path in names if (at := written_at(path)) is not None]
        if stray is not None:
            signs.append(stray.written_at)
        return max((*signs, session.started_at or 0.0))

    async def _missed_closes(self) -> list[Outgoing]:
        if self._beads is None:
            return []
        after = await self._closes_after()
        limit = self._around.clock() - self._settings.grace_s
        found: list[Outgoing] = []
        for name in await self._beads.databases():
            try:
                found += await self._missed_in(self._beads.source, name, after, limit)
            except (Unreachable, NotReady) as error:
                # The poller reports the server; the next sweep asks again.
                self._around.metrics.source_errors.labels(source=SOURCE, condition="beads.unreachable").inc()
                log.info("sweep.cut_short", database=name, error=str(error))
        return found

    async def _missed_in(self, source: ClosedBeads, database: str, after: datetime, limit: float) -> list[Outgoing]:
        closed = [
            bead
            for bead in await source.closed_since(database, after)
            if bead.assignee and bead.closed_at.timestamp() <= limit
        ]
        ids = [bead.bead for bead in closed]
        known = await self._around.database.read(lambda connection: read_known_closes(connection, database, ids))
        return await missed_closes(source, database, closed, known)

    async def _closes_after(self) -> datetime:
        """No further back than our first start: history is not replayed."""
        now = self._around.clock()
        cursor = await self._around.database.read(lambda connection: read_cursor(connection, SOURCE))
        if cursor is None:
            cursor = {"since": now}
            first = cursor
            await self._around.database.write(lambda connection: write_cursor(connection, SOURCE, first))
        since = float(str(cursor["since"]))
        return datetime.fromtimestamp(max(since, now - self._settings.look_back_days * _DAY_S), UTC)

    async def _tell(self, facts: Sequence[Outgoing]) -> int:
        """Commit what was not told before; returns how many."""
        if not facts:
            return 0
        ids = [fact.id for fact in facts]
        known = await self._around.database.read(lambda connection: already_told(connection, SOURCE, ids))
        fresh = [fact for fact in facts if fact.id not in known]
        if not fresh:
            return 0
        now = self._around.clock()
        keep_s = (self._settings.look_back_days + 1) * _DAY_S

        def also(connection: sqlite3.Connection) -> None:
            tell(connection, SOURCE, [(fact.id, now) for fact in fresh])
            forget_told(connection, SOURCE, now - keep_s)

        crash_point("sweep.found")
        await self._around.outbox.put(fresh, also=also)
        crash_point("sweep.committed")
        self._around.metrics.count_facts(SOURCE, len(fresh))
        return len(fresh)


def read_known_sessions(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Which of these sessions are on record."""
    known: set[str] = set()
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        marks = ",".join("?" * len(part))
        found = connection.execute(f"SELECT session_id FROM sessions WHERE session_id IN ({marks})", part)
        known.update(row[0] for row in found)
    return known


def read_open_sessions(connection: sqlite3.Connection) -> list[OpenSession]:
    sql = "SELECT session_id, transcript_path, tmux_session, started_at FROM sessions_seen WHERE ended_at IS NULL"
    return [OpenSession(*row) for row in connection.execute(sql)]


def _began(stray: Stray) -> float:
    return stray.started_at.timestamp() if stray.started_at else stray.written_at


def _started(stray: Stray) -> Outgoing:
    who = identity_of_path(stray.place)
    at = stray.started_at or datetime.fromtimestamp(stray.written_at, UTC)
    event = SessionStarted(
        at=at,
        seen_by="sweep",
        session_id=stray.session_id,
        transcript_path=str(stray.path),
        role=who.role if who else None,
        rig=who.rig if who else None,
        actor=who.actor if who else None,
        cwd=stray.cwd,
        git_head=stray.git_head,
    )
    return Outgoing(event_id(SOURCE, SessionStarted.subject, stray.session_id), event, time=at)


def _ended(session: OpenSession, last: float) -> Outgoing:
    at = datetime.fromtimestamp(last, UTC)
    event = SessionEnded(
        at=at,
        seen_by="sweep",
        session_id=session.session_id,
        tmux_session=session.tmux_session,
        transcript_path=session.transcript_path,
        reason="quiet",
    )
    # A session that was resumed may fall quiet again: that is another end.
    return Outgoing(event_id(SOURCE, SessionEnded.subject, session.session_id, int(last)), event, time=at)
