"""The doubts of the scrubber, for a person who wants to restore text. Nothing waits for it; it never hides more."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.corpus.artifacts import read_artifact
from gtftd.corpus.collect import Collector
from gtftd.corpus.documents import IN_TOWN
from gtftd.corpus.rows import EntryRow
from gtftd.corpus.store import EntryStore
from gtftd.errors import Invalid, Missing
from gtftd.schemas.corpus import EntryKind
from gtftd.schemas.corpus_orders import DoubtRow, Looked
from gtftd.state import Database
from gtftd.state.database import open_reader
from gtftd.town.artifact_files import town_file
from gtftd.town.conversation import RawMessage
from gtftd.town.layout import Town

if TYPE_CHECKING:
    from gtftd.scrub import Scrubber

SHOWN_CHARS = 200

OPEN_DOUBTS = """
SELECT d.digest, d.placeholder, d.kind, d.rule, count(*), max(d.raised_at),
       (SELECT n.entry_id FROM doubts n WHERE n.digest = d.digest ORDER BY n.raised_at DESC, n.entry_id LIMIT 1)
FROM doubts d WHERE d.digest NOT IN (SELECT digest FROM verdicts) AND substr(d.digest, 1, length(:begin)) = :begin
GROUP BY d.digest ORDER BY count(*) DESC, d.digest LIMIT :limit
"""
"""The columns of `DoubtRow`. `begin`: the beginning of a digest."""


@dataclass(frozen=True)
class Restored:
    """A value that passes from now on, and the kinds of the entries that it stood in."""

    doubt: DoubtRow
    kinds: frozenset[EntryKind]


class Review:
    """Values are known by their keyed digest alone; the text itself is looked up where the entry was made of it: in
    the transcript, or in the file of the town, if that is there.
    """

    def __init__(
        self,
        database: Database,
        store: EntryStore,
        collector: Collector,
        scrubber: Callable[[], Scrubber],
        collect_again: Callable[[Sequence[EntryRow]], Awaitable[None]],
        town: Callable[[], Town],
    ) -> None:
        """`collect_again` makes entries anew after a verdict, with a scrubber that knows it."""
        self._database = database
        self._store = store
        self._collector = collector
        self._scrubber = scrubber
        self._collect_again = collect_again
        self._town = town

    async def doubts(self, limit: int = 100, *, begin: str = "") -> list[DoubtRow]:
        """Open ones, those that stand in the most entries first; `begin` is the beginning of a digest."""
        return await self._database.read(lambda connection: open_doubts(connection, limit, begin=begin))

    async def look(self, begin: str) -> Looked:
        """The value and its line, while the transcript or the file of the town still exists. It is nowhere else: show
        it to nobody but the person who asked.
        """
        doubt = await self._one(begin)
        rows = await self._store.select("entry_id = ?", (doubt.entry_id,), 1)
        if not rows:
            return Looked(doubt=doubt)
        row = rows[0]
        said = await self._said(row)
        found = await asyncio.to_thread(_find, said, doubt, self._scrubber)
        value, context = found or (None, "")
        return Looked(doubt=doubt, kind=row.kind, origin=row.origin, value=value, context=context)

    async def _said(self, row: EntryRow) -> tuple[RawMessage, ...]:
        """What the entry was made of; nothing where that is gone, or no place that we may read again."""
        if row.kind == "session":
            return await self._collector.said(row)
        if row.kind == "artifact" and row.origin.startswith(IN_TOWN):
            town = await asyncio.to_thread(self._town)
            return await asyncio.to_thread(_said_by_file, town, row.origin[len(IN_TOWN) :])
        return ()

    async def restore(self, begin: str, *, by: str) -> Restored:
        """Let this value pass from now on, everywhere; its entries are made again. A second call is harmless."""
        doubt = await self._one(begin)
        sql = "SELECT DISTINCT entry_id FROM doubts WHERE digest = ?"
        ids = await self._database.read(lambda connection: connection.execute(sql, (doubt.digest,)).fetchall())
        await self._decide(doubt.digest, "restored", by)
        rows = [row for (entry_id,) in ids for row in await self._store.select("entry_id = ?", (entry_id,), 1)]
        await self._collect_again(rows)
        return Restored(doubt, frozenset(row.kind for row in rows))

    async def keep(self, begin: str, *, by: str) -> DoubtRow:
        """The value was rightly redacted: ask no more."""
        doubt = await self._one(begin)
        await self._decide(doubt.digest, "kept", by)
        return doubt

    async def _one(self, begin: str) -> DoubtRow:
        found = await self.doubts(2, begin=begin)
        if not found:
            raise Missing(f"no open doubt begins with {begin}; `gtftctl corpus review` lists them")
        if len(found) > 1:
            raise Invalid(f"several doubts begin with {begin}; give more letters")
        return found[0]

    async def _decide(self, digest: str, verdict: str, by: str) -> None:
        row = (digest, verdict, by, time.time())
        await self._database.write(lambda c: c.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", row))


def open_doubts(connection: sqlite3.Connection, limit: int, *, begin: str = "") -> list[DoubtRow]:
    """Those that stand in the most entries first. No daemon needs to run."""
    return [
        DoubtRow(digest=row[0], placeholder=row[1], kind=row[2], rule=row[3], entries=row[4], raised_at=row[5],
                 entry_id=row[6])
        for row in connection.execute(OPEN_DOUBTS, {"begin": begin, "limit": limit})
    ]  # fmt: skip


def read_restored(path: Path) -> frozenset[str]:
    """The digests of values that a person lets pass. Blocks: for the thread that makes a scrubber."""
    with contextlib.closing(open_reader(path)) as connection:
        rows = connection.execute("SELECT digest FROM verdicts WHERE verdict = 'restored'")
        return frozenset(row[0] for row in rows)


def _said_by_file(town: Town, path: str) -> tuple[RawMessage, ...]:
    """A document of the town as it reads now. Nothing for one that is gone, or that leads out of the town."""
    found = town_file(town, path)
    try:
        if found is None or not found.file.resolve().is_relative_to(town.root.resolve()) or not found.file.is_file():
            return ()
        document = read_artifact(found, IN_TOWN)
    except (OSError, Invalid):
        return ()
    return document.messages if document else ()


def _find(said: Sequence[RawMessage], doubt: DoubtRow, make_scrubber: Callable[[], Scrubber]) -> tuple[str, str] | None:
    """The value and the scrubbed line that it stands in."""
    scrubber = make_scrubber()
    for message in said:
        for text in (message.content, *(_texts(call.arguments) for call in message.tool_calls)):
            value = scrubber.values_behind(text).get(doubt.placeholder)
            if value is not None and scrubber.digest(value) == doubt.digest:
                return value, _line(scrubber.scrub_text(text), doubt.placeholder)
    return None


def _texts(value: object) -> str:
    """Every string in a JSON value, a line each."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(map(_texts, value.values()))
    return "\n".join(map(_texts, value)) if isinstance(value, list | tuple) else ""


def _line(text: str, placeholder: str) -> str:
    found = next((line for line in text.splitlines() if placeholder in line), "")
    start = max(0, found.find(placeholder) - SHOWN_CHARS // 2)
    return found[start : start + SHOWN_CHARS]
