"""Collects sessions again when somebody asks: all of them, one, or those of a bead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gtftd.corpus.collect import MANY, Collector
from gtftd.corpus.evidence import Evidence
from gtftd.corpus.filing import Tally
from gtftd.corpus.store import EntryStore
from gtftd.errors import Missing, NonRetriable, NotReady
from gtftd.logs import get_logger
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.state import Database

log = get_logger("corpus")
_KNOWN = "SELECT session_id FROM sessions ORDER BY started_at, session_id"
_BEGINNING = "SELECT session_id FROM sessions WHERE substr(session_id, 1, length(?)) = ? LIMIT 2"


class Sessions:
    """One after another, each as `Collector.reconcile` leaves it: a second run changes nothing."""

    def __init__(self, database: Database, evidence: Evidence, store: EntryStore, collector: Collector) -> None:
        self._database = database
        self._evidence = evidence
        self._store = store
        self._collector = collector

    async def collect(self, session_ids: Sequence[str]) -> AsyncIterator[CollectProgress]:
        """A session that cannot be read now is skipped, and does not keep the others waiting."""
        tally = Tally("sessions", total=len(session_ids))
        for session_id in session_ids:
            await self._collect(session_id, tally)
            yield tally.progress(session_id)
        yield tally.progress(finished=True)

    async def all(self) -> list[str]:
        """Every session on record, the oldest first."""
        return await self._database.read(lambda connection: [row[0] for row in connection.execute(_KNOWN)])

    async def named(self, begin: str) -> list[str]:
        """The session whose id begins so. Missing when none does, or several do."""
        found = await self._database.read(lambda connection: connection.execute(_BEGINNING, (begin, begin)).fetchall())
        if len(found) != 1:
            many = "several sessions begin" if found else "no session on record begins"
            raise Missing(f"{many} with {begin}; `gtftctl corpus sweep` finds those that nobody told of")
        return [found[0][0]]

    async def of_bead(self, bead: str) -> list[str]:
        """Those that may have worked on it, and those that were thought to have."""
        working = [session.session_id for session in await self._evidence.sessions_of_bead(bead)]
        thought = [row.session_id for row in await self._store.newest(bead=bead, limit=MANY) if row.session_id]
        found = list(dict.fromkeys([*working, *thought]))
        if not found:
            raise Missing(f"no session on record worked on {bead}")
        return found

    async def _collect(self, session_id: str, tally: Tally) -> None:
        before = await self._contents(session_id)
        tally.done += 1
        try:
            await self._collector.again([session_id])
        except (NonRetriable, NotReady) as error:
            log.info("session.skipped", session_id=session_id, error=type(error).__name__)
            tally.skipped += 1
            return
        after = await self._contents(session_id)
        tally.stored += sum(before.get(entry_id) != sha256 for entry_id, sha256 in after.items())
        tally.unchanged += sum(before.get(entry_id) == sha256 for entry_id, sha256 in after.items())
        tally.withdrawn += len(before.keys() - after.keys())
        tally.skipped += not before and not after

    async def _contents(self, session_id: str) -> dict[str, str]:
        return {row.entry_id: row.sha256 for row in await self._store.of_session(session_id)}
