"""The lives in the town's databases, as documents: all of them in short reads, or one bead anew."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

from gtftd.corpus.bead_fate import fate_of, is_swept, numbered, sweeps
from gtftd.corpus.evidence import Evidence
from gtftd.corpus.filing import Document, Filing, Tally
from gtftd.corpus.operational import DOLT, Telling, bead_document
from gtftd.corpus.slings import Death
from gtftd.errors import NotReady, Unreachable
from gtftd.logs import get_logger
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.settings import LabelSettings
from gtftd.town.bead_life import BeadLife
from gtftd.town.bead_lives import read_lives, read_offset
from gtftd.town.bead_snapshot import HISTORIES, Snapshot
from gtftd.town.beads import BeadsReader

log = get_logger("corpus")
PART = 100
"""Beads in one read."""
MOST_CLOSES = 200_000
OFFSET_KEPT_S = 3600


@dataclass(frozen=True)
class BeadsAccess:
    """The town's server, and the databases on it that are the town's."""

    reader: BeadsReader
    databases: Callable[[], tuple[str, ...]]


class BeadDatabases:
    """One connection, which the poller uses too: between two parts it may have its turn."""

    def __init__(self, access: BeadsAccess, filing: Filing, evidence: Evidence, labels: LabelSettings) -> None:
        self.access = access
        self._filing = filing
        self._evidence = evidence
        self._labels = labels
        self._offsets: dict[str, tuple[float, int]] = {}
        self._has_answered = False

    async def collect(self, database: str, rig: str | None) -> AsyncIterator[CollectProgress]:
        """Raises Unreachable, DatabaseMissing or SchemaUnknown."""
        tally = Tally("operational")
        async with self.access.reader.snapshot(database) as view:
            offset_s = await self._offset(database, view)
            closes = await view.closes(None, None, MOST_CLOSES)
            tally.total = await _count(view)
        self._has_answered = True
        yield tally.progress(database)
        found = sweeps(numbered((close.bead, close.actor, close.at) for close in closes), self._labels)
        telling = Telling("dolt", DOLT, database, rig)
        for table in HISTORIES.values():
            after = ""
            while True:
                async with self.access.reader.snapshot(database) as view:
                    beads = await view.beads_after(table, after, PART)
                    lives = await read_lives(view, beads, offset_s)
                tally.skip(len(beads) - len(lives))  # gone meanwhile, or no id that anybody could write
                for life in lives:
                    await self._put(life, telling, tally, swept=is_swept(life, found))
                yield tally.progress(database)
                if len(beads) < PART:
                    break
                after = beads[-1]

    async def count(self, database: str) -> int:
        """How many beads it has. Raises what `collect` does."""
        async with self.access.reader.snapshot(database) as view:
            return await _count(view)

    async def refresh(self, database: str, bead: str, rig: str | None) -> bool:
        """Tell the life of one bead anew; False when it is gone, or where there has never been a server."""
        try:
            async with self.access.reader.snapshot(database) as view:
                offset_s = await self._offset(database, view)
                lives = await read_lives(view, [bead], offset_s)
                swept = bool(lives) and await self._is_swept(view, lives[0], offset_s)
        except (Unreachable, NotReady):
            if not self._has_answered:
                return False
            raise
        self._has_answered = True
        for life in lives:
            await self._put(life, Telling("dolt", DOLT, database, rig), Tally("operational"), swept=swept)
        return bool(lives)

    async def _put(self, life: BeadLife, telling: Telling, tally: Tally, *, swept: bool) -> None:
        await self._filing.put(await self._document(life, telling, swept=swept), tally)

    async def _document(self, life: BeadLife, telling: Telling, *, swept: bool) -> Document:
        _, _, findings = await self._evidence.of_bead(life.bead)
        sessions = await self._evidence.sessions_of_bead(life.bead)
        deaths = [
            Death(session.actor, session.ended_at)
            for session in sessions
            if session.died and session.actor and session.ended_at
        ]
        return bead_document(
            life,
            telling,
            lambda life, slings: fate_of(life, slings, telling.database, is_swept=swept, findings=findings),
            deaths,
        )

    async def _offset(self, database: str, view: Snapshot) -> int:
        kept = self._offsets.get(database)
        if kept is None or time.monotonic() - kept[0] > OFFSET_KEPT_S:
            kept = self._offsets[database] = (time.monotonic(), await read_offset(view))
        return kept[1]

    async def _is_swept(self, view: Snapshot, life: BeadLife, offset_s: int) -> bool:
        closes = [change for change in life.changes if change.closes]
        if not closes or not life.issue.closed:
            return False
        at = closes[-1].at.replace(tzinfo=None) - timedelta(seconds=offset_s)
        within = timedelta(seconds=self._labels.mass_close_s)
        with contextlib.suppress(OverflowError):
            around = numbered(
                (close.bead, close.actor, close.at)
                for close in await view.closes(at - within, at + within, MOST_CLOSES)
            )
            last = max((one.number for one in around if one.bead == life.bead), default=-1)
            return sweeps(around, self._labels).get(life.bead) == last
        return False


async def _count(view: Snapshot) -> int:
    return sum([await view.count(table) for table in HISTORIES.values()])
