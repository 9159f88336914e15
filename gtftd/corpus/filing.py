"""From documents to entries: scrubbed, stored under an id that follows from the origin, withdrawn with their source."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from gtftd.corpus.store import EntryStore
from gtftd.schemas.corpus import Conventions, Entry, EntryKind, Outcome, Source, Task
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.event import event_id
from gtftd.scrub.sealed import ScrubbedEntry, scrub_entry
from gtftd.state import Database
from gtftd.town.conversation import RawMessage
from gtftd.town.identity import FOR_ALL

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Scrubber

COLLECTED = Outcome(label="collected", confidence=1.0)
STEP = 50
"""Documents between two reports of progress."""
MOST_TOLD = 1000
"""Entries that an answer names."""
_LAST = "\U0010ffff"


@dataclass(frozen=True)
class Document:
    """An entry to be that is no session: still unscrubbed, so it stays in memory."""

    kind: EntryKind
    origin: str
    source: Source
    messages: tuple[RawMessage, ...]
    role: str = FOR_ALL
    rig: str | None = None
    bead: str | None = None
    database: str | None = None
    actor: str | None = None
    model: str | None = None
    title: str = ""
    issue_type: str | None = None
    task: Task = "document"
    outcome: Outcome = COLLECTED
    conventions: Conventions | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cut: str = ""

    @property
    def entry_id(self) -> str:
        return document_id(self.kind, self.origin)

    def entry(self, scrubber: Scrubber) -> ScrubbedEntry:
        """Slow: everything that somebody wrote goes through the scrubber."""
        return scrub_entry(
            scrubber,
            self.messages,
            entry_id=self.entry_id,
            kind=self.kind,
            origin=self.origin,
            source=self.source,
            role=self.role,
            rig=self.rig,
            bead=self.bead,
            database=self.database,
            actor=self.actor,
            model=self.model,
            title=self.title,
            issue_type=self.issue_type,
            task=self.task,
            started_at=self.started_at,
            ended_at=self.ended_at,
            cut=self.cut,
            outcome=self.outcome,
            conventions=self.conventions,
        )


def document_id(kind: EntryKind, origin: str) -> str:
    """The same origin gives the same entry, whatever stands in it."""
    return event_id("document", kind, origin)


@dataclass
class Tally:
    """What a collection has done so far."""

    phase: str
    total: int | None = None
    done: int = 0
    stored: int = 0
    unchanged: int = 0
    skipped: int = 0
    withdrawn: int = 0
    entries: list[str] = field(default_factory=list)
    """Told with the last step, where somebody wants to know which they are."""

    def progress(self, note: str = "", *, finished: bool = False) -> CollectProgress:
        return CollectProgress(
            phase=self.phase,
            done=self.done,
            total=self.total,
            stored=self.stored,
            unchanged=self.unchanged,
            skipped=self.skipped,
            withdrawn=self.withdrawn,
            note=note,
            entries=tuple(dict.fromkeys(self.entries))[:MOST_TOLD] if finished else (),
            finished=finished,
        )

    @property
    def is_due(self) -> bool:
        return self.done % STEP == 0

    def skip(self, count: int = 1) -> None:
        self.done += count
        self.skipped += count


def added(before: CollectProgress, step: CollectProgress) -> CollectProgress:
    """Both together: a step of one collection after another one was done."""
    names = ("done", "stored", "unchanged", "skipped", "withdrawn", "entries")
    return step.model_copy(update={name: getattr(before, name) + getattr(step, name) for name in names})


@dataclass(frozen=True)
class Filed:
    """An entry of a document as its row tells it."""

    entry_id: str
    origin: str
    sha256: str
    source: str
    ended_at: float | None


class Filing:
    """Puts documents into the store. A second call with the same document changes nothing."""

    def __init__(self, database: Database, store: EntryStore, scrubber: Callable[[], Scrubber]) -> None:
        self._database = database
        self._store = store
        self._scrubber = scrubber

    async def put(self, document: Document, tally: Tally, *, by_content: bool = False) -> str:
        """Store it; the entry's id.

        `by_content`: the origin is completed with a sum of whose it is and of the scrubbed messages, which is no
        trace of a secret. The same words told to another role, or in another rig, are another entry.
        """
        scrubbed = await asyncio.to_thread(lambda: document.entry(self._scrubber()))
        if by_content:
            said = [message.model_dump() for message in scrubbed.entry.messages]
            told = (document.role, document.rig, said)
            origin = f"{document.origin}{hashlib.sha256(repr(told).encode()).hexdigest()[:32]}"
            scrubbed = scrubbed.of(origin, document_id(document.kind, origin))
        stored = await self._store.put(scrubbed)
        tally.done += 1
        if stored.changed:
            tally.stored += 1
        else:
            tally.unchanged += 1
        return scrubbed.entry.entry_id

    async def withdraw(self, entry_ids: Iterable[str], tally: Tally) -> None:
        tally.withdrawn += len(await self._store.withdraw(sorted(entry_ids)))

    async def filed(self, kind: EntryKind, prefix: str = "") -> dict[str, Filed]:
        """The entries of a kind whose origin begins with `prefix`, by id."""
        sql = "SELECT entry_id, origin, sha256, source, ended_at FROM entries"
        sql += " WHERE kind = ? AND origin >= ? AND origin < ?"
        values = (kind, prefix, prefix + _LAST)

        def work(connection: sqlite3.Connection) -> list[Filed]:
            return [Filed(*row) for row in connection.execute(sql, values)]

        return {row.entry_id: row for row in await self._database.read(work)}

    async def read(self, sha256: str) -> Entry:
        return await asyncio.to_thread(self._store.read_whole, sha256)

    async def scrubbed(self, text: str) -> str:
        return await asyncio.to_thread(lambda: self._scrubber().scrub_text(text))
