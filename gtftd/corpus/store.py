"""The entries on disk: a content-addressed file each, and a row that says which file is current."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from gtftd.corpus.rows import EntryRow, find, is_welcome, replace, replace_doubts, row_of, select, set_refs
from gtftd.corpus.texts import by_reference, references, whole
from gtftd.errors import Corrupt, Missing
from gtftd.schemas.corpus import Entry, EntryStored, EntryTainted, EntryWithdrawn
from gtftd.schemas.event import event_id
from gtftd.scrub.sealed import ScrubbedEntry
from gtftd.state import Database, Outbox, crash_point
from gtftd.state.files import content_path, fsync_folder, read_content, remove_asides, write_content
from gtftd.state.outbox import Outgoing, insert_rows

SUFFIX = ".json"
TEXT_SUFFIX = ".txt"
_UNWELCOME = "unwelcome"


@dataclass(frozen=True)
class Stored:
    """What `put` found and did; `previous` is the content that was current before, if it was another."""

    sha256: str
    changed: bool
    previous: str | None


class EntryStore:
    """Entries live under `folder/objects/ab/<sha256>.json`. Nothing is changed in place."""

    def __init__(
        self, database: Database, folder: Path, outbox: Outbox, clock: Callable[[], float] = time.time
    ) -> None:
        """`outbox` takes each change of a row as a fact, in the transaction of the row: it is told exactly once."""
        self.folder = folder
        self._database = database
        self._outbox = outbox
        self._clock = clock

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def texts(self) -> Path:
        """What entries refer to; a text that nobody refers to any more goes at the next start."""
        return self.folder / "texts"

    def prepare(self) -> int:
        """Make the folders and remove what a killed writer left; before anything writes."""
        for folder in (self.objects, self.texts):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fsync_folder(self.folder)
        return remove_asides(self.folder)

    async def tidy(self) -> int:
        """Delete files that no row names: written, but the daemon died before the row. Before anything writes."""
        orphans = await self._orphans(self.objects, SUFFIX, "SELECT sha256 FROM entries")
        orphans += await self._orphans(self.texts, TEXT_SUFFIX, "SELECT DISTINCT text_sha256 FROM entry_texts")
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans)

    async def _orphans(self, folder: Path, suffix: str, sql: str) -> list[Path]:
        rows = await self._database.read(lambda connection: connection.execute(sql).fetchall())
        current = {row[0] for row in rows}
        return [path for path in folder.glob(f"*/*{suffix}") if path.stem not in current]

    async def put(self, scrubbed: ScrubbedEntry, *, instead_of: str | None = None) -> Stored:
        """Files first, then the row with its fact, then the old file goes: the row always names a whole file.

        Boilerplate goes into files of its own. A second call with the same entry changes nothing, except that
        its doubts, if known, take the place of those before. With `instead_of` only that content is replaced: when
        another has taken its place meanwhile, nothing happens. What was purged stays away. Raises NoSpace on a full
        disk.
        """
        entry, texts = await asyncio.to_thread(by_reference, scrubbed.entry)
        content = encode(entry)
        digest = await asyncio.to_thread(self._write, content, texts)
        crash_point("entry.written")
        row = row_of(entry, digest, len(content), self._clock())
        refs = sorted(references(entry))
        cause = _cause()

        def work(connection: sqlite3.Connection) -> str | None:
            if not is_welcome(connection, row.entry_id, instead_of):
                return _UNWELCOME
            self._write_missing(texts)
            previous = replace(connection, row)
            if scrubbed.doubts is not None:
                replace_doubts(connection, row.entry_id, scrubbed.doubts, row.stored_at)
            if previous != digest:
                set_refs(connection, row.entry_id, refs)
                insert_rows(connection, self._outbox.rows([told(_stored(row, previous), row.stored_at, cause)]))
            return previous

        previous = await self._database.write(work)
        crash_point("entry.recorded")
        if previous == _UNWELCOME:
            await self._remove_unnamed(row)
        if previous in (digest, _UNWELCOME):
            return Stored(digest, changed=False, previous=None)
        self._outbox.filled.set()
        if previous:
            await self._remove_file(previous)
        return Stored(digest, changed=True, previous=previous)

    async def withdraw(self, entry_ids: Sequence[str]) -> list[EntryRow]:
        """Forget entries; those that are not there are no trouble. Returns what there was."""
        now, cause = self._clock(), _cause()

        def work(connection: sqlite3.Connection) -> list[EntryRow]:
            rows = [row for id_ in entry_ids if (row := find(connection, id_)) is not None]
            for table in ("entries", "entry_texts", "doubts"):
                gone = [(row.entry_id,) for row in rows]
                connection.executemany(f"DELETE FROM {table} WHERE entry_id = ?", gone)
            insert_rows(connection, self._outbox.rows([told(_withdrawn(row), now, cause) for row in rows]))
            return rows

        rows = await self._database.write(work)
        crash_point("entry.withdrawn")
        if rows:
            self._outbox.filled.set()
        for row in rows:
            await self._remove_file(row.sha256)
        return rows

    async def of_session(self, session_id: str) -> list[EntryRow]:
        return await self.select("session_id = ?", (session_id,), 1_000_000)

    async def newest(
        self,
        *,
        role: str | None = None,
        rig: str | None = None,
        bead: str | None = None,
        limit: int = 50,
    ) -> list[EntryRow]:
        """The newest first."""
        chosen = {"role": role, "rig": rig, "bead": bead}
        wanted = {name: value for name, value in chosen.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in wanted) or "1"
        return await self.select(where, tuple(wanted.values()), limit)

    async def counts(self) -> dict[str, int]:
        """Entries by role."""
        sql = "SELECT role, count(*) FROM entries GROUP BY role ORDER BY role"
        return dict(await self._database.read(lambda connection: connection.execute(sql).fetchall()))

    def read(self, digest: str) -> Entry:
        """Raises Missing or Corrupt (the content does not have the sum that its name says)."""
        try:
            content = read_content(self.objects, digest, suffix=SUFFIX)
        except FileNotFoundError as error:
            raise Missing(f"no entry has the content {digest}; `gtftctl corpus list` shows what there is") from error
        return Entry.model_validate_json(content)

    def read_whole(self, digest: str) -> Entry:
        """Like `read`, with the texts that the entry refers to in their places."""
        return whole(self.read(digest), self.text)

    def text(self, digest: str) -> str:
        try:
            return read_content(self.texts, digest, suffix=TEXT_SUFFIX).decode()
        except FileNotFoundError as error:
            raise Corrupt(f"{error.filename}, to which entries refer, is gone; collect them again") from error

    def path(self, digest: str) -> Path:
        return content_path(self.objects, digest, suffix=SUFFIX)

    def _write(self, content: bytes, texts: Mapping[str, bytes]) -> str:
        for text in texts.values():
            write_content(self.texts, text, suffix=TEXT_SUFFIX)
        return write_content(self.objects, content, suffix=SUFFIX)

    def _write_missing(self, texts: Mapping[str, bytes]) -> None:
        """What `remove_texts` took away after it was written and before a row named it."""
        for digest, text in texts.items():
            if not content_path(self.texts, digest, suffix=TEXT_SUFFIX).exists():
                write_content(self.texts, text, suffix=TEXT_SUFFIX)

    async def remove_texts(self, digests: Collection[str]) -> None:
        """Those that no entry refers to: not at the next start, but now. No row can begin to name one meanwhile."""

        def work(connection: sqlite3.Connection) -> None:
            named = {row[0] for row in connection.execute("SELECT DISTINCT text_sha256 FROM entry_texts")}
            for digest in set(digests) - named:
                content_path(self.texts, digest, suffix=TEXT_SUFFIX).unlink(missing_ok=True)

        await self._database.write(work)

    async def _remove_unnamed(self, row: EntryRow) -> None:
        """The content that was written and is not wanted, unless it is current by another way."""
        current = await self.select("entry_id = ?", (row.entry_id,), 1)
        if not current or current[0].sha256 != row.sha256:
            await self._remove_file(row.sha256)

    async def _remove_file(self, digest: str) -> None:
        """Contents hold the id of their entry, so no two entries share one."""
        await asyncio.to_thread(self.path(digest).unlink, missing_ok=True)

    async def select(
        self, where: str, values: tuple[object, ...], limit: int, *, order: str = "stored_at DESC, entry_id"
    ) -> list[EntryRow]:
        """Rows by a condition in SQL."""
        return await self._database.read(lambda connection: select(connection, where, values, order, limit))


def encode(entry: Entry) -> bytes:
    """The canonical bytes of an entry: one line of JSON, fields in the order of the model."""
    return entry.model_dump_json(exclude_none=True).encode() + b"\n"


def _stored(row: EntryRow, previous: str | None) -> EntryStored:
    return EntryStored(
        entry_id=row.entry_id,
        sha256=row.sha256,
        kind=row.kind,
        entry_origin=row.origin,
        role=row.role,
        rig=row.rig,
        bead=row.bead,
        session_id=row.session_id,
        outcome=row.outcome,
        confidence=row.confidence,
        messages=row.messages,
        redactions=row.redactions,
        previous_sha256=previous,
    )


def _withdrawn(row: EntryRow) -> EntryWithdrawn:
    return EntryWithdrawn(
        entry_id=row.entry_id, sha256=row.sha256, session_id=row.session_id, kind=row.kind, entry_origin=row.origin
    )


def told(event: EntryStored | EntryWithdrawn | EntryTainted, at: float, cause: str | None) -> Outgoing:
    """A change of an entry as a fact; the same change makes the same id."""
    identity = event_id(event.subject, event.entry_id, event.sha256, at)
    return Outgoing(identity, event, datetime.fromtimestamp(at, UTC), cause)


def _cause() -> str | None:
    """The event that is being reacted to, as the runtime bound it for the log."""
    cause = structlog.contextvars.get_contextvars().get("event_id")
    return cause if isinstance(cause, str) else None
