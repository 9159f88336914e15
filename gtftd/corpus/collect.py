"""Turns evidence into entries: finds the transcript, cuts, scrubs, stores. Every way in ends in `reconcile`."""

from __future__ import annotations

import asyncio
import fnmatch
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypeVar
from weakref import WeakValueDictionary

from gtftd.corpus.drafts import Draft
from gtftd.corpus.evidence import Evidence, Known, Session
from gtftd.corpus.in_force import ConventionHistory
from gtftd.corpus.outcome import judge
from gtftd.corpus.plan import Plan, Planned, entry_id, ordinal_of, plan_session
from gtftd.corpus.reading import Reading, State
from gtftd.corpus.rows import EntryRow
from gtftd.corpus.spans import Taken
from gtftd.corpus.stints import Stint, find_stints, stints_of_session
from gtftd.corpus.store import EntryStore
from gtftd.errors import Missing, NotReady
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.corpus import CollectionSkipped, Source
from gtftd.schemas.settings import CollectionSettings
from gtftd.schemas.town import BeadClosed, SessionStarted
from gtftd.scrub.sealed import ScrubbedEntry, stored
from gtftd.town.conversation import RawMessage, Transcript
from gtftd.town.identity import ROLES, identity_of_path, parse_role
from gtftd.town.layout import Town
from gtftd.town.spool import Spool

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Scrubber

SETTLE_AGAIN = timedelta(milliseconds=150)
MANY = 1000
"""More entries than one bead has."""
REMEMBERED = 4096
"""Sessions and entries whose last state is kept in memory, so that nothing is done twice."""
T = TypeVar("T")
Reason = Literal["no_session", "no_transcript", "empty", "not_selected", "switched_off", "unfinished"]


@dataclass(frozen=True)
class _Seen:
    """What a session's entries were made from; `state` is None when more transcript would change nothing."""

    session: Session
    stints: tuple[Stint, ...]
    state: State | None


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
        history: ConventionHistory,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._history = history
        self._town = town
        self._evidence = evidence
        self._store = store
        self._scrubber = scrubber
        self._settings = settings
        self._metrics = metrics
        self._activity = activity
        self._clock = clock
        self._reading = Reading(town, spool, max_line_bytes=settings.max_line_bytes)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._digests: OrderedDict[str, bytes] = OrderedDict()

    async def of_close(self, event: BeadClosed) -> CollectionSkipped | None:
        """Store the entries of everybody who worked on the bead; a skip with its reason when nobody did."""
        started = time.monotonic()
        await self.of_bead(event.bead)
        rows = await self._store.newest(bead=event.bead, limit=MANY)
        if any(row.kind == "session" and row.episode == event.episode for row in rows):
            self._metrics.close_to_entry_seconds.observe(time.monotonic() - started)
            return None
        reason = await self._why_nothing(event)
        self._metrics.skipped.labels(reason=reason).inc()
        return CollectionSkipped(bead=event.bead, session_id=None, reason=reason)

    async def of_bead(self, bead: str) -> None:
        """Reconcile every session that may have worked on the bead, and those that were thought to have."""
        working = [session.session_id for session in await self._evidence.sessions_of_bead(bead)]
        rows = await self._store.newest(bead=bead, limit=MANY)
        thought = [row.session_id for row in rows if row.session_id]
        await self.of_sessions(dict.fromkeys([*working, *thought]))

    async def of_sessions(self, session_ids: Iterable[str]) -> None:
        """Reconcile them all, even when some are not ready; raises NotReady for these at the end."""
        waiting: NotReady | None = None
        for session_id in session_ids:
            try:
                await self.reconcile(session_id)
            except NotReady as error:
                waiting = error
        if waiting is not None:
            raise waiting

    async def reconcile(self, session_id: str) -> None:
        """Store what is planned, withdraw what is not. Raises NotReady while a closing call is not on disk yet."""
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:  # whoever comes last has seen all evidence
            known = await self._evidence.of_session(session_id)
            if known is None or not self._settings.enabled or not self._selected(known.session):
                return
            await self._reconcile(known.session, await asyncio.to_thread(_stints, known))

    async def _reconcile(self, session: Session, stints: Sequence[Stint]) -> None:
        state = await self._reading.find(session)
        if state is None:
            await self._keep_screen(session, stints)
            return
        if session.ended_at is None and not any(stint.close for stint in stints):
            await self._withdraw(session, ())
            return
        seen = self._seen.get(session.session_id)
        if seen in (_Seen(session, tuple(stints), state), _Seen(session, tuple(stints), None)):
            return
        async with self._reading.turn:
            plan = await self._follow(session, stints, state)
        if plan.early and self._may_come(plan.early):
            raise NotReady(f"the closing call of {session.session_id} is not on disk yet", after=SETTLE_AGAIN)
        seen = _Seen(session, tuple(stints), None if plan.is_final else state)
        _remember(self._seen, session.session_id, seen)

    async def _follow(self, session: Session, stints: Sequence[Stint], state: State) -> Plan:
        """Read, plan, and do what the plan says; what is early waits until its time is over."""
        async with self._reading.computing:
            transcript, plan = await asyncio.to_thread(self._plan, session, stints, state)
        ready = plan.entries if self._may_come(plan.early) else (*plan.entries, *plan.early)
        for planned in ready:
            await self._put(session, planned, transcript.agent_program, transcript.cwd)
        await self._withdraw(session, (*plan.entries, *plan.early))
        return plan

    def _plan(self, session: Session, stints: Sequence[Stint], state: State) -> tuple[Transcript, Plan]:
        transcript = self._reading.read(state)
        plan = plan_session(
            session,
            stints,
            transcript.lines,
            min_turns=self._settings.min_assistant_turns,
            town_root=str(self._town().root),
        )
        return transcript, plan

    def _may_come(self, early: Sequence[Planned]) -> bool:
        """Whether a closing call may still be on its way to the disk."""
        ends = [planned.stint.ended_at for planned in early if planned.stint]
        return any(abs(self._clock() - end.timestamp()) <= self._settings.settle_s + 1 for end in ends if end)

    async def _keep_screen(self, session: Session, stints: Sequence[Stint]) -> None:
        """Without a transcript: what the terminal shows when work ends, kept as it was then."""
        rows = {row.entry_id: row for row in await self._store.of_session(session.session_id)}
        over = sorted((stint.ended_at, number) for number, stint in enumerate(stints) if stint.ended_at)
        for _, number in over:
            stint = stints[number]
            identity, outcome = entry_id(session, stint, ordinal_of(stint, stints)), judge(stint, session, None)
            if (row := rows.get(identity)) is not None:
                entry = await asyncio.to_thread(self._store.read, row.sha256)
                await self._store_entry(stored(entry).judged(outcome))
            elif session.ended_at is None and number == over[-1][1] and (said := await self._reading.screen(session)):
                taken = Taken(said, {}, session.started_at, stint.ended_at, None)
                planned = Planned(identity, stint, taken, "the whole screen", outcome)
                await self._put(session, planned, "tmux", None)

    async def _draft(self, session: Session, planned: Planned, source: Source, cwd: str | None) -> Draft:
        began = planned.taken.started_at or session.started_at
        conventions = await self._history.at(session.rig, began)
        return Draft(session, planned, source, cwd, conventions, await self._history.retired(session.rig))

    async def _put(self, session: Session, planned: Planned, source: Source, cwd: str | None) -> None:
        """Under the conventions that are on record once it is there: those who record some look for it after that."""
        read = -1
        while read != self._history.changes:
            read = self._history.changes
            await self._put_draft(await self._draft(session, planned, source, cwd))

    async def under_new_conventions(self, since: datetime) -> None:
        """Make anew what was stored since they changed, before anybody had recorded it, and began under them.

        An entry that is being made right now looks again itself when it is stored.
        """
        stored = await self._store.select("kind = 'session' AND stored_at >= ?", (since.timestamp(),), -1)
        late = [row.session_id for row in stored if row.session_id and await self._is_late(row)]
        await self.again(late)

    async def _is_late(self, row: EntryRow) -> bool:
        try:
            entry = await asyncio.to_thread(self._store.read, row.sha256)
        except Missing:
            return False  # made anew meanwhile
        session = None if entry.started_at else await self._evidence.session(str(row.session_id))
        began = entry.started_at or (session.started_at if session else None)
        return entry.conventions != await self._history.at(entry.rig, began)

    async def _put_draft(self, draft: Draft) -> None:
        """An entry made of the same things as last time is there already."""
        identity = draft.planned.entry_id
        async with self._reading.computing:
            digest, entry = await asyncio.to_thread(self._scrubbed, draft, self._digests.get(identity))
        if entry is None:
            return
        await self._store_entry(entry)
        _remember(self._digests, identity, digest)

    def _scrubbed(self, draft: Draft, before: bytes | None) -> tuple[bytes, ScrubbedEntry | None]:
        scrubber = self._scrubber()
        digest = draft.digest(scrubber)
        return digest, None if digest == before else draft.entry(scrubber)

    async def _store_entry(self, scrubbed: ScrubbedEntry) -> None:
        put, entry = await self._store.put(scrubbed), scrubbed.entry
        if not put.changed:
            return
        role = entry.role if entry.role in ROLES else "other"
        self._metrics.entries.labels(role=role, outcome=entry.outcome.label).inc()
        for kind, count in entry.redactions.items():
            self._metrics.redactions.labels(kind=kind).inc(count)
        self._activity.note(
            "entry",
            entry.role,
            rig=entry.rig,
            actor=entry.actor,
            bead=entry.bead,
            outcome=entry.outcome.label,
            messages=len(entry.messages),
            redactions=sum(entry.redactions.values()),
            sha256=put.sha256,
        )

    async def _withdraw(self, session: Session, planned: Iterable[Planned]) -> None:
        existing = {row.entry_id for row in await self._store.of_session(session.session_id)}
        gone = sorted(existing - {entry.entry_id for entry in planned})
        for identity in gone:
            self._digests.pop(identity, None)
        if gone:
            await self._store.withdraw(gone)

    async def said(self, row: EntryRow) -> tuple[RawMessage, ...]:
        """What an entry of a session was made of, while the transcript still exists. It may go to no sink."""
        known = await self._evidence.of_session(row.session_id) if row.session_id else None
        state = await self._reading.find(known.session) if known else None
        if known is None or state is None:
            return ()
        async with self._reading.turn:
            _, plan = await asyncio.to_thread(lambda: self._plan(known.session, _stints(known), state))
        found = (planned for planned in (*plan.entries, *plan.early) if planned.entry_id == row.entry_id)
        return next((planned.taken.messages for planned in found), ())

    async def again(self, session_ids: Iterable[str]) -> None:
        """Make the entries of these sessions anew, although no evidence has changed: the rules have."""
        chosen = list(dict.fromkeys(session_ids))
        for session_id in chosen:
            self._seen.pop(session_id, None)
            for row in await self._store.of_session(session_id):
                self._digests.pop(row.entry_id, None)
        await self.of_sessions(chosen)

    def placed(self, event: SessionStarted) -> SessionStarted:
        """Fill in who it is from where it works, when no hook told us."""
        if event.role is not None and event.actor is not None:
            return event
        root = self._town().root
        inside = event.cwd is not None and PurePath(event.cwd).is_relative_to(root)
        where = identity_of_path(PurePath(event.cwd or "").relative_to(root)) if inside else None
        who = parse_role(event.actor or "") or where
        if who is None:
            return event
        found = {"role": event.role or who.role, "rig": event.rig or who.rig, "actor": event.actor or who.actor}
        return event.model_copy(update=found)

    def _selected(self, session: Session) -> bool:
        """What is not known yet does not pass a limit: it may turn out to be what must not be collected."""
        limits = self._settings
        if session.role is None and (limits.roles or limits.rigs or limits.skip_rigs):
            return False
        if limits.roles and session.role not in limits.roles:
            return False
        if limits.rigs and session.rig is not None and session.rig not in limits.rigs:
            return False
        if session.rig in limits.skip_rigs or (limits.skip_paths and session.cwd is None):
            return False
        return not any(fnmatch.fnmatch(session.cwd or "", pattern) for pattern in limits.skip_paths)

    async def _why_nothing(self, event: BeadClosed) -> Reason:
        if not self._settings.enabled:
            return "switched_off"
        sessions = await self._evidence.sessions_of_bead(event.bead)
        if not sessions:
            return "no_session"
        selected = [session for session in sessions if self._selected(session)]
        if not selected:
            return "not_selected"
        found = [await self._reading.find(session) for session in selected]
        return "empty" if any(found) else "no_transcript"


def _stints(known: Known) -> list[Stint]:
    """What the session's agent had in hand while it lived. Slow where it had much."""
    return stints_of_session(known.session, find_stints(known.changes, known.closes, known.findings))


def _remember(memory: OrderedDict[str, T], key: str, value: T) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
