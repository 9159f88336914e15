"""What the daemon tells the index: every change of an entry or a bead, and everything once when it began anew.

An index that does not answer delays nothing: what it misses makes it *behind*, and it is fed everything when it
answers again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from gtftd.errors import GtftdError, Missing, NotReady, Unreachable
from gtftd.logs import get_logger
from gtftd.rag.entry_text import clipped, document_id, document_of
from gtftd.rag.sides import Bead, Beads, Entries, Index, Row
from gtftd.rag.turns import Turns
from gtftd.schemas.corpus import EntryKind
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.rag import IndexDocument

T = TypeVar("T")
log = get_logger("rag")
PART = 50
"""Beads that are read and told in one go: others may have their turn between two."""
BATCH_CHARS = 400_000
PAGE = 50
SESSION, BEAD = "session:", "bead:"
OF_ENTRIES = (SESSION, "file:", "prime:", "interactions:", "curated:")


@dataclass(frozen=True)
class _Where:
    """One database, and whose it is."""

    beads: Beads
    database: str
    rig: str | None


class Feed:
    """Every method may be called as often as one likes: the index takes what it has for unchanged."""

    def __init__(self, index: Index, entries: Entries, beads: Beads | None, *, is_off: bool = False) -> None:
        """`beads` is None where the town's databases may not be read. `is_off`: there is no index to tell."""
        self._index = index
        self._is_off = is_off
        self._entries = entries
        self._beads = beads
        self._entry_turn, self._bead_turns = asyncio.Lock(), Turns()
        self.behind = asyncio.Event()
        """The index missed something: it must be fed everything."""

    async def entry_changed(self, entry_id: str, kind: EntryKind, origin: str, *, tainted: str | None = None) -> None:
        """Make the index agree with what the store holds now, whichever change is told of. Of the content `tainted`
        nothing may remain on disk.
        """
        if self._is_off:
            return
        name = document_id(kind, origin, entry_id)
        if tainted:
            await self._forget(name)
        if kind == "operational" and await self._told_live(origin):
            return
        async with self._entry_turn:
            rows = await self._entries.select("entry_id = ?", (entry_id,), 1)
            document = await self._read(rows[0]) if rows and rows[0].sha256 != tainted else None
            try:
                if document is None:
                    await self._index.remove([name])
                else:
                    await self._index.put([document])
            except Unreachable as error:
                self._missed(error)

    async def beads_changed(self, database: str, beads: Sequence[str]) -> None:
        """Read these beads, and those that hang on them, and tell what they say now."""
        where = None if self._is_off else await self._where(database)
        if where is None:
            return
        linked: set[str] = set()
        for part in _parts(list(dict.fromkeys(beads))):
            linked |= await self._tell(where, part)
        for part in _parts(sorted(linked - set(beads))):
            await self._tell(where, part)

    async def bead_touched(self, database: str, bead: str, over: Beads) -> None:
        """Read it over another connection and tell what it says, without those that hang on it."""
        where = None if self._is_off else await self._where(database)
        if where is not None:
            await self._tell(replace(where, beads=over), [bead])

    async def everything(self, *, forget: bool = False) -> AsyncIterator[CollectProgress]:
        """Feed all entries and all beads, and remove what is in none of them; the last step has `finished`.

        With `forget` nothing that was said before remains on disk: the scrubber has learned something.

        Raises Unreachable when the index stops answering; databases that do not answer are noted.
        """
        self.behind.clear()
        try:
            done = 0
            async for count in self._all_entries(forget=forget):
                done += count
                yield CollectProgress(phase="entries", done=done)
            notes: list[str] = []
            silent: set[str] = set()
            known = await self._everywhere()
            for where in known:
                try:
                    async for count in self._all_beads(where, forget=forget):
                        done += count
                        yield CollectProgress(phase="beads", done=done, note=where.database)
                except (NotReady, Unreachable) as error:
                    if isinstance(error, IndexGone):
                        raise
                    notes.append(f"{where.database}: {error}")
                    silent.add(where.database)
            async for count in self._stored_beads({where.database for where in known} - silent, forget=forget):
                done += count
                yield CollectProgress(phase="stored beads", done=done)
            yield CollectProgress(phase="rebuild", done=done, note="; ".join(notes), finished=True)
        except GtftdError:
            self.behind.set()
            raise

    async def compare(self) -> None:
        """Remove beads that are in no database any more: nothing tells of a deleted row."""
        for where in await self._everywhere():
            try:
                await self._remove_gone(where)
            except (NotReady, Unreachable) as error:
                log.info("beads.uncompared", database=where.database, error=str(error))

    async def _everywhere(self) -> list[_Where]:
        if self._beads is None:
            return []
        return [_Where(self._beads, database, rig) for database, rig in (await self._beads.databases()).items()]

    async def _forget(self, name: str) -> None:
        try:
            await self._index.remove([name], forget=True)
        except Unreachable as error:
            self._missed(error)

    async def _told_live(self, origin: str) -> bool:
        """The stored life of a bead is older than its database: that is asked where it answers."""
        database, _, bead = origin.removeprefix(BEAD).partition("/")
        where = await self._where(database)
        if where is None:
            return False
        try:
            await self._tell(where, [bead])
        except (NotReady, Unreachable):
            return False
        return True

    async def databases(self) -> list[str]:
        """Those whose beads are told."""
        return sorted(where.database for where in await self._everywhere())

    async def _where(self, database: str) -> _Where | None:
        return next((where for where in await self._everywhere() if where.database == database), None)

    async def _read(self, row: Row) -> IndexDocument | None:
        try:
            entry = await asyncio.to_thread(self._entries.read_whole, row.sha256)
            return document_of(entry, datetime.fromtimestamp(row.stored_at, UTC))
        except Missing:
            return None  # superseded meanwhile; a fact of its own tells of what took its place

    async def _tell(self, where: _Where, beads: Sequence[str], *, forget: bool = False) -> set[str]:
        """Read and tell in one turn of each bead: an older reading never follows a newer one.

        Returns the beads that are linked to them.
        """
        async with self._bead_turns.of(bead_id(where.database, bead) for bead in beads):
            part = await where.beads.of(where.database, beads)
            try:
                if part.gone:
                    await self._index.remove([bead_id(where.database, bead) for bead in part.gone], forget=forget)
                for batch in _batches(_bead_document(bead, where.rig) for bead in part.found):
                    await self._index.put(batch, forget=forget)
            except Unreachable as error:
                self._missed(error)
        cards = [bead.card for bead in part.found]
        return {name for card in cards for name in (*card.needs, *card.needed_by, *card.related)}

    async def _all_entries(self, *, forget: bool) -> AsyncIterator[int]:
        async for rows in self._pages("kind != 'operational'", frozenset(), forget=forget):
            yield rows
        for prefix in OF_ENTRIES:
            await self._remove_withdrawn(prefix)

    async def _stored_beads(self, live: Collection[str], *, forget: bool) -> AsyncIterator[int]:
        """Beads as the corpus knows them, of databases that do not answer, or of which there is an export alone."""
        async for rows in self._pages("kind = 'operational'", frozenset(live), forget=forget):
            yield rows

    async def _pages(self, which: str, live: frozenset[str], *, forget: bool) -> AsyncIterator[int]:
        """In the order of their ids; one turn reads and tells a page, so that nothing newer is overwritten."""
        after = ""
        while True:
            async with self._entry_turn:
                rows = await self._entries.select(f"{which} AND entry_id > ?", (after,), PAGE, order="entry_id")
                wanted = [row for row in rows if row.origin.removeprefix(BEAD).partition("/")[0] not in live]
                read = [await self._read(row) for row in wanted]
                for batch in _batches(document for document in read if document is not None):
                    await self._answered(self._index.put(batch, forget=forget))
            yield len(wanted)
            if len(rows) < PAGE:
                break
            after = rows[-1].entry_id

    async def _remove_withdrawn(self, prefix: str) -> None:
        column = "entry_id" if prefix == SESSION else "origin"
        for name in sorted(await self._answered(self._index.ids(prefix))):
            value = name.removeprefix(prefix) if prefix == SESSION else name
            async with self._entry_turn:
                if not await self._entries.select(f"{column} = ?", (value,), 1, order="entry_id"):
                    await self._answered(self._index.remove([name]))

    async def _all_beads(self, where: _Where, *, forget: bool) -> AsyncIterator[int]:
        async for beads in where.beads.ids(where.database):
            for part in _parts(beads):
                await self._tell(where, part, forget=forget)
                yield len(part)
        await self._remove_gone(where)

    async def _remove_gone(self, where: _Where) -> None:
        """Suspects are read once more, so that a bead that came meanwhile stays."""
        prefix = bead_id(where.database, "")
        known = await self._answered(self._index.ids(prefix))
        async for beads in where.beads.ids(where.database):
            known -= {prefix + bead for bead in beads}
        for part in _parts(sorted(name.removeprefix(prefix) for name in known)):
            await self._tell(where, part)

    @staticmethod
    async def _answered(asked: Awaitable[T]) -> T:
        try:
            return await asked
        except Unreachable as error:
            raise IndexGone(str(error)) from error

    def _missed(self, error: Unreachable) -> None:
        if not self.behind.is_set():
            log.warning("index.behind", error=str(error))
        self.behind.set()


class IndexGone(Unreachable):
    """The index stopped answering while it was fed."""


def bead_id(database: str, bead: str) -> str:
    return f"{BEAD}{database}/{bead}"


def _bead_document(bead: Bead, rig: str | None) -> IndexDocument:
    return IndexDocument(
        id=bead_id(bead.database, bead.bead),
        collection="beads",
        rig=rig,
        title=f"{bead.bead}: {bead.title}"[:500],
        text=clipped(bead.text),
        updated_at=bead.updated_at,
        bead=bead.card,
    )


def _parts(beads: Sequence[str]) -> list[Sequence[str]]:
    return [beads[at : at + PART] for at in range(0, len(beads), PART)]


def _batches(documents: Iterable[IndexDocument]) -> Iterable[list[IndexDocument]]:
    """As many as fit into one message."""
    batch: list[IndexDocument] = []
    size = 0
    for document in documents:
        if batch and size + len(document.text) > BATCH_CHARS:
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document.text)
    if batch:
        yield batch
