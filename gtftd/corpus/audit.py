"""Scrubs stored entries again with today's rules. What they find is replaced, removed everywhere, and told."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Literal

from gtftd.corpus.rows import EntryRow
from gtftd.corpus.store import EntryStore, told
from gtftd.corpus.texts import by_reference, references, whole
from gtftd.errors import Missing
from gtftd.schemas.corpus import Entry, EntryTainted
from gtftd.schemas.corpus_orders import AuditProgress
from gtftd.scrub.sealed import scrub_again
from gtftd.state import Database, Outbox, crash_point
from gtftd.state.outbox import insert_rows

if TYPE_CHECKING:
    from gtftd.scrub import Scrubber

BATCH = 200
DUTY = 0.5
"""Share of the time that an audit by itself works: agents live on this machine."""
Taint = Callable[[Collection[str], str], list[str]]
"""Removes contents from every snapshot that holds them; returns the snapshots' ids."""


class Audit:
    """Every stored entry, once for each change of the rules. Killed anywhere, the rest is done at the next start.

    Order for a hit: taint the snapshots, then the new content with its fact, and with it the old bytes go.
    """

    def __init__(
        self, database: Database, store: EntryStore, outbox: Outbox, scrubber: Callable[[], Scrubber], taint: Taint
    ) -> None:
        self._database = database
        self._store = store
        self._outbox = outbox
        self._scrubber = scrubber
        self._taint = taint
        self._one = asyncio.Lock()

    async def is_due(self) -> bool:
        """Whether any entry has not been seen by today's rules."""
        scrubber = await asyncio.to_thread(self._scrubber)
        return bool(await self._rows(scrubber.version, "", 1))

    async def run(self, *, only_old: bool = True, gently: bool = False) -> AsyncIterator[AuditProgress]:
        """`only_old`: those that today's rules have not seen. `gently`: sleep as long as it works."""
        async with self._one:
            scrubber = await asyncio.to_thread(self._scrubber)
            version = scrubber.version if only_old else None
            total, done, hits, last = await self._count(version), 0, 0, ""
            snapshots: set[str] = set()
            while rows := await self._rows(version, last, BATCH):
                started = time.monotonic()
                for row in rows:
                    found = await self._look(row, scrubber)
                    hits += found is not None
                    snapshots.update(found or ())
                done, last = done + len(rows), rows[-1].entry_id
                yield AuditProgress(done=done, total=total, hits=hits, tainted_snapshots=tuple(sorted(snapshots)))
                await asyncio.sleep((time.monotonic() - started) * (1 - DUTY) / DUTY if gently else 0)
            yield AuditProgress(
                done=done, total=total, hits=hits, tainted_snapshots=tuple(sorted(snapshots)), finished=True
            )

    async def purge(self, entry_id: str, reason: str, *, by: str) -> list[str]:
        """Remove an entry and its text everywhere, for ever: it is not collected again. Returns the snapshots that
        held it. Raises Missing when there is none.
        """
        found = await self._store.select("entry_id = ?", (entry_id,), 1)
        if not found:
            raise Missing(f"there is no entry {entry_id}; `gtftctl corpus list` shows what there is")
        row = found[0]
        refs = references(await asyncio.to_thread(self._store.read, row.sha256))
        clean = str((await asyncio.to_thread(self._scrubber)).scrub_text(reason))
        snapshots = await self._taint_all(row, refs, "purge", ())
        crash_point("purge.told")
        await self._database.write(_purged(entry_id, clean, by))
        await self._store.withdraw([entry_id])
        await self._store.remove_texts(refs)
        return snapshots

    async def _look(self, row: EntryRow, scrubber: Scrubber) -> list[str] | None:
        """None when the entry is clean; else the snapshots that held what was found."""
        before = await asyncio.to_thread(self._try_read, row.sha256)
        if before is None:
            return None  # superseded or withdrawn meanwhile: whatever took its place is clean
        again, found = await asyncio.to_thread(lambda: scrub_again(whole(before, self._store.text), scrubber))
        if not found:
            await self._database.write(_seen(row, scrubber.version))
            return None
        after, _ = await asyncio.to_thread(by_reference, again.entry)
        refs = references(before) - references(after)  # what stays the same held nothing
        snapshots = await self._taint_all(row, refs, "audit", sorted(found))
        crash_point("audit.tainted")
        await self._store.put(again, instead_of=row.sha256)
        await self._store.remove_texts(refs)
        return snapshots

    def _try_read(self, sha256: str) -> Entry | None:
        try:
            return self._store.read(sha256)
        except Missing:
            return None

    async def _taint_all(
        self, row: EntryRow, refs: Collection[str], reason: Literal["audit", "purge"], kinds: Sequence[str]
    ) -> list[str]:
        """First no new snapshot may take the contents up, then the old ones lose them, then it is told.

        A kill between leaves the entry as it was: the next audit, or the next order, does all of it again.
        """
        contents = [row.sha256, *refs]
        await self._database.write(_barred(contents, row.entry_id))
        snapshots = await asyncio.to_thread(self._taint, contents, reason)
        event = EntryTainted(
            entry_id=row.entry_id,
            sha256=row.sha256,
            kinds=tuple(kinds),
            reason=reason,
            snapshots=tuple(snapshots),
            kind=row.kind,
            entry_origin=row.origin,
        )
        outgoing = told(event, row.stored_at, None)
        await self._database.write(lambda connection: insert_rows(connection, self._outbox.rows([outgoing])))
        self._outbox.filled.set()
        return snapshots

    async def _count(self, version: str | None) -> int:
        sql = "SELECT count(*) FROM entries WHERE audited IS NOT ?"
        return int((await self._database.read(lambda c: c.execute(sql, (version,)).fetchone()))[0])

    async def _rows(self, version: str | None, after: str, limit: int) -> list[EntryRow]:
        return await self._store.select("audited IS NOT ? AND entry_id > ?", (version, after), limit, order="entry_id")


def _barred(contents: Sequence[str], entry_id: str) -> Callable[[sqlite3.Connection], object]:
    rows = [(content, entry_id, time.time()) for content in contents]
    return lambda connection: connection.executemany("INSERT OR IGNORE INTO taints VALUES (?, ?, ?)", rows)


def _seen(row: EntryRow, version: str) -> Callable[[sqlite3.Connection], object]:
    sql = "UPDATE entries SET audited = ? WHERE entry_id = ? AND sha256 = ?"
    return lambda connection: connection.execute(sql, (version, row.entry_id, row.sha256))


def _purged(entry_id: str, reason: str, by: str) -> Callable[[sqlite3.Connection], object]:
    row = (entry_id, reason, by, time.time())
    return lambda connection: connection.execute("INSERT OR IGNORE INTO purges VALUES (?, ?, ?, ?)", row)
