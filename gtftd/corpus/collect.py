"""Turns evidence into entries: finds the transcript, cuts, scrubs, stores. Every way in ends in `reconcile`."""

from __future__ import annotations

import asyncio
import fnmatch
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from typing import Literal

from gtftd.corpus.evidence import Evidence, Session
from gtftd.corpus.outcome import judge
from gtftd.corpus.plan import Plan, Planned, plan_session
from gtftd.corpus.scrub import Scrubber
from gtftd.corpus.spans import Taken
from gtftd.corpus.stints import Stint, find_stints, stints_of_session
from gtftd.corpus.store import EntryStore
from gtftd.errors import NotReady
from gtftd.logs import get_logger
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.corpus import CollectionSkipped, Entry, EntryStored, EntryWithdrawn
from gtftd.schemas.event import Event, event_id
from gtftd.schemas.settings import CollectionSettings
from gtftd.schemas.town import BeadClosed
from gtftd.town.identity import Identity, identity_of_path, parse_role
from gtftd.town.layout import Town
from gtftd.town.screen import capture, parse_screen
from gtftd.town.spool import Spool
from gtftd.town.transcript import find_transcript, read_transcript

log = get_logger("corpus")
SETTLE_AGAIN = timedelta(milliseconds=150)
Reason = Literal["no_session", "no_transcript", "empty", "not_selected", "switched_off", "unfinished"]


@dataclass(frozen=True)
class _Read:
    """What a session's transcript or screen gives."""

    plan: Plan
    source: Literal["claude-code", "tmux"]
    cwd: str | None
    problems: dict[str, int]


class Collector:
    """`reconcile` makes the stored entries of a session equal to what is known of it now.

    It may run again at any time and in any order: entry ids come from the session and the bead,
    contents from what was said; what is no longer planned is withdrawn.
    """

    def __init__(
        self,
        town: Callable[[], Town],
        evidence: Evidence,
        store: EntryStore,
        scrubber: Callable[[], Scrubber],
        spool: Spool,
        settings: CollectionSettings,
        metrics: Metrics,
        activity: Activity,
    ) -> None:
        self.evidence = evidence
        self._town = town
        self._store = store
        self._scrubber = scrubber
        self._spool = spool
        self._settings = settings
        self._metrics = metrics
        self._activity = activity

    async def of_close(self, event: BeadClosed) -> list[Event]:
        """The entries of everybody who worked on the bead; a skip with its reason when there is none."""
        started = time.monotonic()
        known_s = max((datetime.now(UTC) - event.at).total_seconds(), 0.0)
        facts = await self.of_bead(event.bead)
        if facts:
            self._metrics.close_to_entry_seconds.observe(time.monotonic() - started + min(known_s, 1.0))
            return facts
        if await self._store.newest(bead=event.bead, limit=1):
            return []
        return [self._skip(await self._why_nothing(event), bead=event.bead)]

    async def of_bead(self, bead: str) -> list[Event]:
        """Reconcile every session that may have worked on the bead."""
        changes = await self.evidence.changes(beads=[bead])
        closes = await self.evidence.closes([bead])
        actors = {stint.actor for stint in find_stints(changes, closes)}
        actors |= {close.closed_by for close in closes if close.closed_by}
        facts: list[Event] = []
        for session in await self._sessions_of(sorted(actors), bead):
            facts += await self.reconcile(session)
        return facts

    async def of_session(self, session_id: str) -> list[Event]:
        session = await self.evidence.session(session_id)
        return await self.reconcile(session) if session else []

    async def of_late_evidence(self, bead: str, actor: str, at: datetime) -> list[Event]:
        """An assignment or release became known: it only matters now if what it bears on is over already."""
        if await self.evidence.closes([bead]):
            return await self.of_bead(bead)
        facts: list[Event] = []
        for session in await self.evidence.sessions("actor = ? AND ended_at >= ?", actor, at.timestamp()):
            facts += await self.reconcile(session)
        return facts

    async def reconcile(self, session: Session) -> list[Event]:
        """Store what is planned, withdraw what is not. Raises NotReady while the closing call is not on disk yet."""
        if not self._settings.enabled:
            return []
        session = self._placed(session)
        if not self._selected(session):
            return []
        stints = await self._stints(session)
        if session.ended_at is None and not any(stint.close for stint in stints):
            return await self._withdraw(session, set())
        read = await self._read(session, stints)
        if read is None:
            return []
        if not read.plan.settled and self._may_settle(read.plan):
            raise NotReady(f"the closing call of {session.session_id} is not on disk yet", after=SETTLE_AGAIN)
        facts: list[Event] = []
        for planned in read.plan.entries:
            facts += await self._put(session, planned, read)
        facts += await self._withdraw(session, {planned.entry_id for planned in read.plan.entries})
        return facts

    async def _sessions_of(self, actors: Sequence[str], bead: str) -> list[Session]:
        marks = ",".join("?" * len(actors)) or "NULL"
        return await self.evidence.sessions(f"actor IN ({marks}) OR work_bead = ?", *actors, bead)

    async def _stints(self, session: Session) -> list[Stint]:
        if session.actor is None:
            return []
        changes = await self.evidence.changes(actor=session.actor)
        beads = {change.bead for change in changes} | set(await self.evidence.beads_closed_by(session.actor))
        if session.work_bead:
            beads.add(session.work_bead)
        closes = await self.evidence.closes(sorted(beads))
        return stints_of_session(session, find_stints(changes, closes))

    async def _read(self, session: Session, stints: list[Stint]) -> _Read | None:
        path = await asyncio.to_thread(self._transcript, session)
        if path is not None:
            return await asyncio.to_thread(self._read_transcript, session, stints, path)
        if session.tmux_session and session.ended_at is None and any(stint.close for stint in stints):
            return await self._read_screen(session, stints)
        return None

    def _read_transcript(self, session: Session, stints: list[Stint], path: Path) -> _Read:
        transcript = read_transcript(path, max_line_bytes=self._settings.max_line_bytes)
        plan = plan_session(session, stints, transcript.lines, min_turns=self._settings.min_assistant_turns)
        return _Read(plan, "claude-code", transcript.cwd, dict(transcript.problems))

    async def _read_screen(self, session: Session, stints: list[Stint]) -> _Read | None:
        """The last resort: what the terminal still shows, uncut since a screen has no times."""
        text = await capture(self._town(), session.tmux_session or "")
        if not text:
            return None
        closed = [stint for stint in stints if stint.close is not None]
        taken = Taken(parse_screen(text), {}, session.started_at, None, None)
        stint = closed[-1]
        identity = event_id("entry", session.session_id, stint.bead, stint.episode, 0)
        planned = Planned(identity, stint, taken, "the whole screen", judge(stint, session, None))
        return _Read(Plan((planned,)), "tmux", None, {})

    def _transcript(self, session: Session) -> Path | None:
        """Claude Code's own file, the link in the spool, or wherever an account keeps it."""
        named = [Path(session.transcript_path)] if session.transcript_path else []
        for path in (*named, self._spool.transcripts / f"{session.session_id}.jsonl"):
            if path.suffix == ".jsonl" and path.is_file():
                return path
        return find_transcript(session.session_id, self._town().claude_dirs())

    async def _put(self, session: Session, planned: Planned, read: _Read) -> list[Event]:
        entry = await asyncio.to_thread(self._entry, session, planned, read)
        stored = await self._store.put(entry)
        if not stored.changed:
            return []
        redactions = sum(entry.redactions.values())
        self._metrics.entries.labels(role=entry.role, outcome=entry.outcome.label).inc()
        for kind, count in entry.redactions.items():
            self._metrics.redactions.labels(kind=kind).inc(count)
        self._activity.note(
            "entry",
            entry.role,
            rig=entry.rig,
            bead=entry.bead,
            outcome=entry.outcome.label,
            messages=len(entry.messages),
            redactions=redactions,
            sha256=stored.sha256,
        )
        return [
            EntryStored(
                entry_id=entry.entry_id,
                sha256=stored.sha256,
                role=entry.role,
                rig=entry.rig,
                bead=entry.bead,
                session_id=entry.session_id,
                outcome=entry.outcome.label,
                confidence=entry.outcome.confidence,
                messages=len(entry.messages),
                redactions=redactions,
                previous_sha256=stored.previous,
            )
        ]

    async def _withdraw(self, session: Session, planned: set[str]) -> list[Event]:
        existing = {row.entry_id for row in await self._store.of_session(session.session_id)}
        withdrawn = await self._store.withdraw(sorted(existing - planned))
        return [
            EntryWithdrawn(entry_id=row.entry_id, sha256=row.sha256, session_id=row.session_id) for row in withdrawn
        ]

    def _entry(self, session: Session, planned: Planned, read: _Read) -> Entry:
        """Nothing but scrubbed text, identifiers and numbers goes in."""
        scrubber = self._scrubber()
        messages, redactions = scrubber.scrub_messages(planned.taken.messages)
        stint = planned.stint
        close = stint.close if stint else None
        cwd = session.cwd or read.cwd
        return Entry(
            entry_id=planned.entry_id,
            role=session.role or "unknown",
            rig=session.rig,
            bead=stint.bead if stint else None,
            database=close.database if close else None,
            episode=stint.episode if stint else 1,
            session_id=session.session_id,
            run_id=session.run_id,
            actor=session.actor,
            agent=session.agent,
            model=planned.taken.model,
            title=scrubber.scrub_text(close.title) if close else "",
            issue_type=close.issue_type if close else None,
            cwd=scrubber.scrub_text(cwd) if cwd else None,
            git_head=session.git_head,
            source=read.source,
            started_at=planned.taken.started_at,
            ended_at=planned.taken.ended_at,
            cut=planned.cut,
            outcome=planned.outcome,
            messages=messages,
            redactions=dict(sorted(redactions.items())),
            dropped=dict(sorted(planned.taken.dropped.items())),
            scrubber=scrubber.version,
        )

    def _placed(self, session: Session) -> Session:
        """Fill in who it was from where it worked, when no hook told us."""
        if session.role is not None and session.actor is not None:
            return session
        identity = parse_role(session.actor or "") or self._identity_of(session.cwd)
        if identity is None:
            return session
        return replace(
            session,
            role=session.role or identity.role,
            rig=session.rig or identity.rig,
            actor=session.actor or identity.actor,
        )

    def _identity_of(self, cwd: str | None) -> Identity | None:
        root = self._town().root
        if cwd is None or not PurePath(cwd).is_relative_to(root):
            return None
        return identity_of_path(PurePath(cwd).relative_to(root))

    def _selected(self, session: Session) -> bool:
        limits = self._settings
        if limits.roles and session.role not in limits.roles:
            return False
        if limits.rigs and session.rig is not None and session.rig not in limits.rigs:
            return False
        if session.rig in limits.skip_rigs:
            return False
        return not any(fnmatch.fnmatch(session.cwd or "", pattern) for pattern in limits.skip_paths)

    def _may_settle(self, plan: Plan) -> bool:
        ends = [planned.stint.ended_at for planned in plan.entries if planned.stint and planned.stint.ended_at]
        return bool(ends) and (datetime.now(UTC) - max(ends)).total_seconds() < self._settings.settle_s + 1

    async def _why_nothing(self, event: BeadClosed) -> Reason:
        if not self._settings.enabled:
            return "switched_off"
        actors = [actor for actor in (event.assignee, event.closed_by) if actor]
        sessions = [self._placed(session) for session in await self._sessions_of(actors, event.bead)]
        if not sessions:
            return "no_session"
        if not any(self._selected(session) for session in sessions):
            return "not_selected"
        paths = await asyncio.to_thread(lambda: [self._transcript(session) for session in sessions])
        return "empty" if any(paths) else "no_transcript"

    def _skip(self, reason: Reason, *, bead: str | None = None, session_id: str | None = None) -> CollectionSkipped:
        self._metrics.skipped.labels(reason=reason).inc()
        return CollectionSkipped(bead=bead, session_id=session_id, reason=reason)
