"""The tail of gt's event feed: every line once, though the feed is rewritten, cut and full of repeats."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import asdict, dataclass

from pydantic import ValidationError

from gtftd.errors import Retriable
from gtftd.logs import get_logger
from gtftd.schemas.event import event_id
from gtftd.schemas.settings import FeedSettings
from gtftd.schemas.town import TownEvent
from gtftd.sources.surroundings import Patience, Surroundings
from gtftd.sources.tail import Batch, Position, Tail
from gtftd.sources.waker import Waker
from gtftd.state.crash import crash_point
from gtftd.state.outbox import Outgoing, already_told, forget_told, read_cursor, tell, write_cursor
from gtftd.town.feed import BadLine, parse_line, to_event

log = get_logger("feed")
SOURCE = "feed"
BATCH_LINES = 500
KEEP_TOLD_S = 31 * 86_400.0
"""gt itself keeps lines for 30 days at most, so none that we forgot comes back."""
_FORGET_EVERY_S = 3600.0
_FILE = ".events.jsonl"


@dataclass(frozen=True)
class _Fact:
    digest: str
    event: TownEvent


class FeedSource:
    """Position and facts are committed together: a kill between two batches loses and repeats nothing."""

    def __init__(self, around: Surroundings, settings: FeedSettings) -> None:
        self._around = around
        self._settings = settings
        self._patience = Patience(SOURCE, around)
        self._waker = Waker(SOURCE, step_ms=100, cares=lambda name: name == _FILE)
        self._tail = Tail(around.root / _FILE, max_line_bytes=settings.max_line_bytes)
        self._position: Position | None = None
        self._forgotten_at = 0.0
        self._complained: set[str] = set()

    async def run(self) -> None:
        if not self._settings.enabled:
            self._around.health.off(SOURCE, "switched off in the configuration")
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._waker.run())
                await self._follow()
        finally:
            self._tail.close()

    async def _follow(self) -> None:
        while True:
            self._waker.watch([self._around.root])
            try:
                while await self.step():
                    pass
            except Retriable as error:
                await self._patience.bear(error)
            except OSError as error:
                self._report_unreadable(error)
                await self._waker.wait(self._settings.poll_s)
            else:
                self._patience.over()
                self._around.health.ok(SOURCE)
                await self._waker.wait(self._settings.poll_s)

    async def step(self) -> bool:
        """Read and commit one batch; true when there is more to read."""
        if self._position is None:
            self._position = await self._around.database.read(_read_position)
        await self._forget()
        batch, facts = await asyncio.to_thread(self._read, self._position)
        if batch.position != self._position:
            await self._commit(batch.position, facts)
            self._position = batch.position
        return batch.has_more

    def _read(self, position: Position) -> tuple[Batch, list[_Fact]]:
        batch = self._tail.read(position, BATCH_LINES)
        for offset in batch.too_long:
            self._complain(BadLine("line.too_long", "the line is too long"), offset)
        facts: dict[str, _Fact] = {}
        # In a file begun a second time, what is older than we remember was told before.
        oldest = self._around.clock() - KEEP_TOLD_S if batch.position.is_again else None
        for line in batch.lines:
            if not line.content.strip():
                continue
            try:
                said = parse_line(line.content)
                if oldest is None or said.at.timestamp() >= oldest:
                    facts.setdefault(said.digest, _Fact(said.digest, to_event(said)))
            except BadLine as error:
                self._complain(error, line.offset)
            except ValidationError as error:
                self._complain(BadLine("line.no_event", f"{error.error_count()} fields are wrong"), line.offset)
        return batch, list(facts.values())

    async def _commit(self, position: Position, facts: list[_Fact]) -> None:
        digests = [fact.digest for fact in facts]
        known = await self._around.database.read(lambda connection: already_told(connection, SOURCE, digests))
        fresh = [fact for fact in facts if fact.digest not in known]
        now = self._around.clock()

        def also(connection: sqlite3.Connection) -> None:
            tell(connection, SOURCE, [(fact.digest, max(now, fact.event.at.timestamp())) for fact in fresh])
            write_cursor(connection, SOURCE, asdict(position))

        outgoing = [Outgoing(event_id(SOURCE, fact.digest), fact.event, time=fact.event.at) for fact in fresh]
        crash_point("feed.read")
        await self._around.outbox.put(outgoing, also=also)
        crash_point("feed.committed")
        self._around.metrics.count_facts(SOURCE, len(fresh))

    async def _forget(self) -> None:
        now = self._around.clock()
        if now - self._forgotten_at < _FORGET_EVERY_S:
            return
        await self._around.database.write(lambda connection: forget_told(connection, SOURCE, now - KEEP_TOLD_S))
        self._forgotten_at = now

    def _complain(self, error: BadLine, offset: int) -> None:
        """Count each, log the first of its kind."""
        self._around.metrics.source_errors.labels(source=SOURCE, condition=error.kind).inc()
        if error.kind not in self._complained:
            self._complained.add(error.kind)
            log.warning("line.skipped", kind=error.kind, offset_bytes=offset, error=str(error)[:200])

    def _report_unreadable(self, error: OSError) -> None:
        self._around.metrics.source_errors.labels(source=SOURCE, condition="feed.unreadable").inc()
        self._around.health.degraded(SOURCE, "feed.unreadable", f"{_FILE} cannot be read: {error.strerror}")


def _read_position(connection: sqlite3.Connection) -> Position:
    found = read_cursor(connection, SOURCE)
    if found is None:
        return Position()
    return Position(
        inode=int(str(found["inode"])),
        offset=int(str(found["offset"])),
        anchor=str(found["anchor"]),
        is_skipping=bool(found["is_skipping"]),
        is_again=bool(found["is_again"]),
    )
