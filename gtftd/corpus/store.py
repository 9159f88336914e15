"""The entries on disk: a content-addressed file each, and a row that says which file is current."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from gtftd.corpus.texts import by_reference, references, whole
from gtftd.errors import Corrupt, Missing
from gtftd.schemas.corpus import Entry, EntryKind, EntryStored, EntryTainted, EntryWithdrawn
from gtftd.schemas.event import event_id
from gtftd.scrub.sealed import ScrubbedEntry
from gtftd.state import Database, Outbox, crash_point
from gtftd.state.files import content_path, fsync_folder, remove_asides, write_content
from gtftd.state.outbox import Outgoing, insert_rows

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Doubt

SUFFIX = ".json"
TEXT_SUFFIX = ".txt"
_UNWELCOME = "unwelcome"


@dataclass(frozen=True)
class Stored:
    """What `put` found and did; `previous` is the content that was current before, if it was another."""

    sha256: str
    changed: bool
    previous: str | None


@dataclass(frozen=True)
class EntryRow:
    """One entry without its text."""

    entry_id: str
    sha256: str
    kind: EntryKind
    origin: str
    source: str
    role: str
    rig: str | None
    bead: str | None
    episode: int
    session_id: str | None
    actor: str | None
    agent: str | None
    model: str | None
    task: str
    outcome: str
    confidence: float
    failures: str
    violations: int
    messages: int
    trainable: int
    redactions: int
    size_bytes: int
    scrubber: str
    audited: str
    started_at: float | None
    ended_at: float | None
    stored_at: float


_NAMES = tuple(field.name for field in fields(EntryRow))
_COLUMNS = ", ".join(_NAMES)


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
        row = self._row(entry, digest, len(content))
        refs = sorted(references(entry))
        cause = _cause()

        def work(connection: sqlite3.Connection) -> str | None:
            if not _is_welcome(connection, row.entry_id, instead_of):
                return _UNWELCOME
            previous = _replace(connection, row)
            if scrubbed.doubts is not None:
                replace_doubts(connection, row.entry_id, scrubbed.doubts, row.stored_at)
            if previous != digest:
                _set_refs(connection, row.entry_id, refs)
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
            rows = [row for id_ in entry_ids if (row := _find(connection, id_)) is not None]
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
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise Missing(f"no entry has the content {digest}; `gtftctl corpus list` shows what there is") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise Corrupt(f"{path} was changed after it was written")
        return Entry.model_validate_json(content)

    def read_whole(self, digest: str) -> Entry:
        """Like `read`, with the texts that the entry refers to in their places."""
        return whole(self.read(digest), self.text)

    def text(self, digest: str) -> str:
        path = content_path(self.texts, digest, suffix=TEXT_SUFFIX)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise Corrupt(f"{path}, to which entries refer, is gone; collect them again") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise Corrupt(f"{path} was changed after it was written")
        return content.decode()

    def path(self, digest: str) -> Path:
        return content_path(self.objects, digest, suffix=SUFFIX)

    def _write(self, content: bytes, texts: Mapping[str, bytes]) -> str:
        for text in texts.values():
            write_content(self.texts, text, suffix=TEXT_SUFFIX)
        return write_content(self.objects, content, suffix=SUFFIX)

    async def remove_texts(self, digests: Collection[str]) -> None:
        """Those that no entry refers to: not at the next start, but now."""
        rows = await self._database.read(lambda c: c.execute("SELECT DISTINCT text_sha256 FROM entry_texts").fetchall())
        for digest in set(digests) - {row[0] for row in rows}:
            path = content_path(self.texts, digest, suffix=TEXT_SUFFIX)
            await asyncio.to_thread(path.unlink, missing_ok=True)

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
        sql = f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY {order} LIMIT ?"
        rows = await self._database.read(lambda connection: connection.execute(sql, (*values, limit)).fetchall())
        return [EntryRow(*row) for row in rows]

    def _row(self, entry: Entry, digest: str, size: int) -> EntryRow:
        return EntryRow(
            entry_id=entry.entry_id,
            sha256=digest,
            kind=entry.kind,
            origin=entry.origin,
            source=entry.source,
            role=entry.role,
            rig=entry.rig,
            bead=entry.bead,
            episode=entry.episode,
            session_id=entry.session_id,
            actor=entry.actor,
            agent=entry.agent,
            model=entry.model,
            task=entry.task,
            outcome=entry.outcome.label,
            confidence=entry.outcome.confidence,
            failures=",".join(entry.outcome.failures),
            violations=sum(len(message.violations) for message in entry.messages),
            messages=len(entry.messages),
            trainable=sum(message.trainable for message in entry.messages),
            redactions=sum(entry.redactions.values()),
            size_bytes=size,
            scrubber=entry.scrubber,
            audited=entry.scrubber,
            started_at=entry.started_at.timestamp() if entry.started_at else None,
            ended_at=entry.ended_at.timestamp() if entry.ended_at else None,
            stored_at=self._clock(),
        )


def encode(entry: Entry) -> bytes:
    """The canonical bytes of an entry: one line of JSON, fields in the order of the model."""
    return entry.model_dump_json(exclude_none=True).encode() + b"\n"


def _is_welcome(connection: sqlite3.Connection, entry_id: str, instead_of: str | None) -> bool:
    if connection.execute("SELECT 1 FROM purges WHERE entry_id = ?", (entry_id,)).fetchone():
        return False
    old = _find(connection, entry_id)
    return instead_of is None or (old is not None and old.sha256 == instead_of)


def replace_doubts(connection: sqlite3.Connection, entry_id: str, doubts: Sequence[Doubt], at: float) -> None:
    """The open questions of one entry; an old one keeps its time."""
    rows = [(doubt.digest, entry_id, doubt.placeholder, doubt.kind, doubt.rule, doubt.message, at) for doubt in doubts]
    marks = ", ".join("?" * len(doubts))
    sql = f"DELETE FROM doubts WHERE entry_id = ? AND digest NOT IN ({marks})"
    connection.execute(sql, (entry_id, *(doubt.digest for doubt in doubts)))
    connection.executemany("INSERT OR IGNORE INTO doubts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _set_refs(connection: sqlite3.Connection, entry_id: str, refs: Sequence[str]) -> None:
    connection.execute("DELETE FROM entry_texts WHERE entry_id = ?", (entry_id,))
    connection.executemany("INSERT INTO entry_texts VALUES (?, ?)", [(entry_id, ref) for ref in refs])


def _find(connection: sqlite3.Connection, entry_id: str) -> EntryRow | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE entry_id = ?", (entry_id,)).fetchone()
    return None if row is None else EntryRow(*row)


def _replace(connection: sqlite3.Connection, row: EntryRow) -> str | None:
    """Make `row` current; returns the content that was current."""
    old = _find(connection, row.entry_id)
    if old is None or old.sha256 != row.sha256:
        marks = ", ".join("?" * len(_NAMES))
        values = tuple(getattr(row, name) for name in _NAMES)
        connection.execute(f"INSERT OR REPLACE INTO entries ({_COLUMNS}) VALUES ({marks})", values)
    return None if old is None else old.sha256


def _stored(row: EntryRow, previous: str | None) -> EntryStored:
    return EntryStored(
        entry_id=row.entry_id,
        sha256=row.sha256,
        kind=row.kind,
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
    return EntryWithdrawn(entry_id=row.entry_id, sha256=row.sha256, session_id=row.session_id)


def told(event: EntryStored | EntryWithdrawn | EntryTainted, at: float, cause: str | None) -> Outgoing:
    """A change of an entry as a fact; the same change makes the same id."""
    identity = event_id(event.subject, event.entry_id, event.sha256, at)
    return Outgoing(identity, event, datetime.fromtimestamp(at, UTC), cause)


def _cause() -> str | None:
    """The event that is being reacted to, as the runtime bound it for the log."""
    cause = structlog.contextvars.get_contextvars().get("event_id")
    return cause if isinstance(cause, str) else None
