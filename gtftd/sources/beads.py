"""The beads poller: what happened to beads, read from the town's Dolt server.

Each poll reads the history rows from `overlap_s` before the newest row that was told, forgets those that
were told, follows the rest, and commits facts, bead states, told rows and position in one transaction. So a
kill at any point repeats the poll, and a repeated poll says the same.

Nothing is lost when the server restarts, when its data is swapped for data that continues the same
history, or when its clock is set back (the position follows the clock, and told rows are kept for two
days). Lost to the poller, and left to the sweep: rows that turn up later than `overlap_s` after their own
`created_at` (history pulled from a remote), rows from before a database was first seen, closes by plain SQL
of beads with no later row, and, on a server east of UTC whose writers change from local time to UTC, the
hours between the two.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gtftd.errors import Busy, GtftdError, NoSpace, Unreachable
from gtftd.health import Health
from gtftd.logs import get_logger
from gtftd.metrics import Metrics
from gtftd.schemas.event import event_id
from gtftd.schemas.settings import BeadsSettings
from gtftd.schemas.town import BeadsSynced
from gtftd.sources import bead_memory as memory
from gtftd.sources.backoff import Backoff
from gtftd.sources.bead_changes import KnownBead, decide, seed
from gtftd.sources.bead_clock import correct, shifted
from gtftd.sources.bead_memory import Position
from gtftd.state.database import Database
from gtftd.state.outbox import Outbox, Outgoing
from gtftd.town.beads import BeadsReader, DatabaseMissing, Head, SchemaUnknown, ServerClock, Snapshot
from gtftd.town.beads_server import beads_databases, beads_port, database_of_bead
from gtftd.town.layout import Town

WAKE_GAP_S = 1.0
"""A wake-up tries a failing server again at the earliest after this."""
_NEVER = datetime.max  # noqa: DTZ901  # rows carry no zone
log = get_logger("sources")


@dataclass(frozen=True)
class _News:
    """One batch of rows, followed; not yet kept."""

    facts: tuple[Outgoing, ...]
    heads: tuple[Head, ...]
    states: dict[str, KnownBead]
    position: Position
    complete: bool


@dataclass(frozen=True)
class _Scene:
    """One database at one moment, and where we stand in it."""

    name: str
    view: Snapshot
    position: Position
    clock: ServerClock

    def since(self, overlap_s: float) -> datetime | None:
        water = _bounded(self.position.high_water, self.clock)
        return None if water is None else shifted(water, -overlap_s)


@dataclass(frozen=True)
class _Round:
    """The last look at every database: when it began, monotonic, and the server's clock then."""

    at: float
    clock: ServerClock


class BeadsPoller:
    """Looks at every database each `poll_s`, and at once at those that `wake` is about.

    Each database fails, waits and heals by itself.
    """

    def __init__(  # the daemon's parts, each once
        self,
        town_loader: Callable[[], Town],
        settings: BeadsSettings,
        outbox: Outbox,
        database: Database,
        health: Health,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._town_loader = town_loader
        self._settings = settings
        self._outbox = outbox
        self._database = database
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._woken = asyncio.Event()
        self._touched: set[str] = set()
        self._round: _Round | None = None
        self._server = Backoff(settings)
        self._patience: dict[str, Backoff] = {}
        self._state_failed = False
        self.reader = BeadsReader(settings, lambda: beads_port(town_loader(), settings))

    def wake(self, beads: Iterable[str] = ()) -> None:
        """Something happened to `beads`: poll now, or right after the poll that is running. Never blocks."""
        self._touched.update(beads)
        self._woken.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        if not self._settings.enabled:
            self._health.off("dolt", "beads.enabled is false")
            return
        began, recorded = self._clock(), False
        try:
            while True:
                recorded = recorded or await self._record_start(began)
                await self.poll()
                await self._rest()
        finally:
            await self.reader.close()

    async def _record_start(self, began: float) -> bool:
        """False while the state cannot be written: a full disk must not end the daemon."""
        try:
            await self._database.write(lambda connection: memory.record_start(connection, began))
        except (NoSpace, Busy) as error:
            log.warning("beads.start_unrecorded", error=str(error))
            return False
        return True

    async def poll(self) -> int:
        """Look at the databases that are not waiting after a failure; returns how many facts came.

        At those of the beads that were touched when these bring news, else at every one of them.
        """
        self._woken.clear()
        touched, self._touched = self._touched, set()
        if not self._server.ready(time.monotonic()):
            return 0
        try:
            names, owners = await asyncio.to_thread(self._databases, touched)
        except GtftdError as error:
            self._round = None
            self._fail("dolt", "town.unreadable", self._server, error)
            return 0
        return await self._look_at_owners(owners) or await self._look_at_all(names)

    async def _look_at_owners(self, names: Sequence[str]) -> int:
        """0 also when everything is due anyway: looking at the others then must not wait for more wake-ups."""
        now = time.monotonic()
        if self._round is None or now >= self._round.at + self._settings.poll_s:
            return 0
        clock = self._round.clock.later(now - self._round.at)
        return sum([await self._attend(name, clock, expects_news=True) for name in names])

    async def _look_at_all(self, names: Sequence[str]) -> int:
        try:
            clock = await self.reader.clock()
        except GtftdError as error:
            self._round = None
            self._fail("dolt", "dolt.unreachable", self._server, error)
            return 0
        self._round = _Round(time.monotonic(), clock)
        self._server.succeeded()
        self._health.ok("dolt")
        for gone in self._patience.keys() - set(names):
            del self._patience[gone]
            self._health.forget(f"dolt:{gone}")
        return sum([await self._attend(name, clock) for name in names])

    def _databases(self, touched: Iterable[str]) -> tuple[Sequence[str], Sequence[str]]:
        """All that may be read, and those of them that hold the beads."""
        town = self._town_loader()
        names = beads_databases(town, self._settings)
        owners = {database_of_bead(town, bead) for bead in touched}
        return names, [name for name in names if name in owners]

    async def _attend(self, name: str, clock: ServerClock, *, expects_news: bool = False) -> int:
        patience = self._patience.setdefault(name, Backoff(self._settings))
        if not patience.ready(time.monotonic()):
            return 0
        try:
            count = await self._catch_up(name, clock, expects_news=expects_news)
        except DatabaseMissing as error:
            self._fail(f"dolt:{name}", "dolt.database_missing", patience, error)
        except SchemaUnknown as error:
            self._fail(f"dolt:{name}", "dolt.schema_unknown", patience, error)
        except Unreachable as error:
            self._round = None
            self._fail(f"dolt:{name}", "dolt.unreachable", patience, error)
        except (NoSpace, Busy) as error:
            self._state_failed = True
            condition = "disk.full" if isinstance(error, NoSpace) else "state.busy"
            self._fail("state", condition, patience, error)
        else:
            patience.succeeded()
            self._health.ok(f"dolt:{name}")
            if self._state_failed:
                self._state_failed = False
                self._health.ok("state")
            return count
        return 0

    async def _catch_up(self, name: str, clock: ServerClock, *, expects_news: bool) -> int:
        """Batch after batch, each kept before the next, until nothing is new."""
        position = await self._database.read(lambda connection: memory.load_position(connection, name))
        if position is None:
            await self._warm_up(name, clock)
            return 0
        position = _follow_clock(position, clock)
        told = 0
        while True:
            async with self.reader.snapshot(name) as view:
                if expects_news:
                    await view.freeze()
                news = await self._read(_Scene(name, view, position, clock))
                told += await self._keep(name, news)
            position = news.position
            if news.complete:
                return told

    async def _warm_up(self, name: str, clock: ServerClock) -> None:
        """What is there counts as told, but for what came after our first start: only that is news."""
        start = await self._database.read(memory.load_start)
        since_start = shifted(start.replace(microsecond=0), clock.zone_s) if start else _NEVER
        async with self.reader.snapshot(name) as view:
            newest = _bounded(await view.newest(), clock)
            position = Position(newest if newest is None else min(newest, since_start), clock.zone_s)
            since = _Scene(name, view, position, clock).since(self._settings.overlap_s)
            page = await view.heads(since, self._settings.batch_rows)
            heads = list(page.heads)
            while not page.complete:
                page = await view.heads(_after(page.heads[-1].at), self._settings.batch_rows)
                heads += page.heads
        told = [head for head in heads if head.at < since_start]
        await self._outbox.put([], lambda connection: memory.remember(connection, name, position, told, {}))
        log.info("beads.warmed_up", database=name, rows=len(told))

    async def _read(self, scene: _Scene) -> _News:
        cursor = scene.since(self._settings.overlap_s)
        while True:
            page = await scene.view.heads(cursor, self._settings.batch_rows)
            fresh = await self._fresh(scene.name, page.heads)
            if fresh and not scene.view.frozen:
                # rows and issues must be of one state, so the rows are listed once more inside it
                await scene.view.freeze()
                page = await scene.view.heads(cursor, self._settings.batch_rows)
                fresh = await self._fresh(scene.name, page.heads)
            if fresh:
                return await self._follow(scene, fresh, complete=page.complete)
            if page.complete:
                return _News((), (), {}, scene.position, complete=True)
            cursor = _after(page.heads[-1].at)

    async def _fresh(self, name: str, heads: Sequence[Head]) -> list[Head]:
        if not heads:
            return []
        return await self._database.read(lambda connection: memory.unseen(connection, name, heads))

    async def _follow(self, scene: _Scene, fresh: Sequence[Head], *, complete: bool) -> _News:
        name, position = scene.name, scene.position
        rows = await scene.view.changes(fresh)
        beads = list(dict.fromkeys(row.bead for row in rows))
        issues = await scene.view.issues(beads)
        assumed = -scene.clock.zone_s if position.offset_s is None else position.offset_s
        corrected = correct(rows, issues, assumed)
        now = datetime.fromtimestamp(self._clock(), UTC)
        states = await self._database.read(lambda connection: memory.load_states(connection, name, beads))
        strangers = [bead for bead in beads if bead not in states]
        states |= await self._history(scene, strangers, fresh, now)
        decision = await asyncio.to_thread(decide, name, corrected.rows, states, issues, settled=complete, now=now)
        newest = max(head.at for head in fresh)
        water = max(filter(None, (position.high_water, _bounded(newest, scene.clock))), default=None)
        offset = corrected.offset_s if corrected.voted else position.offset_s
        synced = BeadsSynced(
            at=now,
            seen_by="poll",
            database=name,
            rows=len(rows),
            high_water=shifted(newest.replace(tzinfo=UTC), corrected.offset_s),
            beads=tuple(beads),
        )
        identity = event_id("beads.synced", name, *sorted(head.key for head in fresh))
        return _News(
            facts=(*decision.facts, Outgoing(identity, synced, now)),
            heads=tuple(fresh),
            states=dict(decision.states),
            position=replace(position, high_water=water, offset_s=offset),
            complete=complete,
        )

    async def _history(
        self, scene: _Scene, strangers: Sequence[str], fresh: Sequence[Head], now: datetime
    ) -> dict[str, KnownBead]:
        """How beads stood that we never told of: from their rows older than the fresh ones."""
        if not strangers:
            return {}
        new, oldest = {head.key for head in fresh}, min(head.at for head in fresh).replace(tzinfo=UTC)
        rows = [row for row in await scene.view.history(strangers) if row.key not in new]
        late = [row.key for row in rows if row.at >= oldest]
        told = await self._database.read(lambda connection: memory.told_of(connection, scene.name, late))
        return seed(scene.name, [row for row in rows if row.at < oldest or row.key in told], now)

    async def _keep(self, name: str, news: _News) -> int:
        if not news.heads:
            return 0

        def keep(connection: sqlite3.Connection) -> None:
            memory.remember(connection, name, news.position, news.heads, news.states)

        await self._outbox.put(news.facts, also=keep)
        self._metrics.count_facts("beads", len(news.facts))
        log.info("beads.synced", database=name, rows=len(news.heads), facts=len(news.facts))
        return len(news.facts)

    def _fail(self, component: str, condition: str, patience: Backoff, error: GtftdError) -> None:
        self._health.degraded(component, condition, str(error))
        self._metrics.source_errors.labels("poll", condition).inc()
        patience.failed(time.monotonic())

    async def _rest(self) -> None:
        """Until the next poll is due or `wake` is called; a failing server is given its gap even then."""
        now = time.monotonic()
        due = self._round.at + self._settings.poll_s if self._round else self._server.not_before
        waiting = max(due - now, 0.0)
        gap = 0.0 if self._server.calm else min(WAKE_GAP_S, waiting)
        await asyncio.sleep(gap)
        try:
            async with asyncio.timeout(max(waiting - gap, 0.0)):
                await self._woken.wait()
        except TimeoutError:
            return
        self._server.hurry()


def _after(at: datetime) -> datetime:
    """The next moment that a DATETIME can tell."""
    return shifted(at, 1e-6)


def _bounded(at: datetime | None, clock: ServerClock) -> datetime | None:
    """Not after the server's present, by either clock: one row from the future must not hide what follows."""
    return None if at is None else min(at, max(clock.local, clock.utc))


def _follow_clock(position: Position, clock: ServerClock) -> Position:
    """Where the server's zone changed, move back with it: after summer time an hour comes twice."""
    back = position.zone_s - clock.zone_s
    if back == 0:
        return position
    water = position.high_water
    if water is not None and back > 0:
        water = shifted(water, -back)
    return Position(water, clock.zone_s, offset_s=None)
