"""All reactions together: started, paused, drained, and asked how they are."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import nats.errors
from nats.js.errors import APIError

from gtftd.bus.consumer import Consumer
from gtftd.bus.contract import Reaction
from gtftd.bus.delivery import Workplace
from gtftd.errors import Missing
from gtftd.logs import get_logger
from gtftd.state.database import Database

log = get_logger("bus")
ALL = "*"


@dataclass(frozen=True)
class ReactionState:
    """One reaction as an operator sees it; nothing is `pending` while the bus cannot be asked."""

    name: str
    subject: str
    doc: str
    state: Literal["running", "paused", "stopped"]
    concurrency: int
    pending: int
    running: int
    done: int
    repeated: int
    retried: int
    parked: int
    last_done_at: float | None
    p50_ms: float | None
    p99_ms: float | None


class Runtime:
    """The consumers of every reaction. Pauses are kept in the state and survive a restart."""

    def __init__(
        self,
        reactions: Sequence[Reaction],
        services: Mapping[str, Mapping[str, object]],
        place: Workplace,
        database: Database,
    ) -> None:
        self.consumers = {reaction.name: Consumer(reaction, services[reaction.name], place) for reaction in reactions}
        self._place = place
        self._database = database
        self.ensured = asyncio.Event()
        """Set when every consumer exists: from then on nothing that is published goes unheard."""
        self._paused: dict[str, str] = {}
        self._held = ""

    async def load(self) -> None:
        """Read the pauses of earlier lives."""
        self._paused = dict(await self._database.read(_read_pauses))
        self._gate()

    async def run(self) -> None:
        """For ever. Consumers are created when the bus is first there; the sources do not wait for it."""
        for consumer in self.consumers.values():
            await self._ensure(consumer)
        self.ensured.set()
        async with asyncio.TaskGroup() as group:
            for consumer in self.consumers.values():
                group.create_task(consumer.run(), name=f"consumer:{consumer.reaction.name}")
            group.create_task(self._ensure_again(), name="consumers")

    async def pause(self, reaction: str | None, reason: str) -> None:
        name = self._known(reaction)
        now = time.time()
        await self._database.write(
            lambda c: c.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?)", (name, now, reason))
        )
        self._paused[name] = reason
        self._gate()

    async def resume(self, reaction: str | None) -> None:
        """Resuming everything lifts every single pause too."""
        name = self._known(reaction)
        sql = "DELETE FROM pauses WHERE reaction = ? OR ? = '*'"
        await self._database.write(lambda c: c.execute(sql, (name, name)))
        self._paused = {} if name == ALL else {key: why for key, why in self._paused.items() if key != name}
        self._gate()

    def hold(self, reason: str) -> None:
        """Stop all reactions for a reason of the town (e-stop) or of ours (draining); empty lifts it."""
        if reason != self._held:
            self._held = reason
            self._gate()

    @property
    def held(self) -> str:
        """Why all reactions wait; empty when they do not."""
        return self._held

    @property
    def paused(self) -> Mapping[str, str]:
        return self._paused

    async def drain(self, timeout_s: float) -> bool:
        """Let what runs finish and the outbox run empty; True when it did in time. Stays held."""
        self.hold("draining")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(consumer.idle() for consumer in self.consumers.values()))
                await self._place.outbox.empty()
                return True
        return False

    async def idle(self) -> bool:
        """Nothing runs, nothing is pending, nothing waits in the outbox."""
        if await self._place.outbox.size():
            return False
        return all(not state.pending and not state.running for state in await self.states())

    async def states(self) -> list[ReactionState]:
        return [await self._state(consumer) for consumer in self.consumers.values()]

    async def _state(self, consumer: Consumer) -> ReactionState:
        reaction, tally = consumer.reaction, consumer.tally
        return ReactionState(
            name=reaction.name,
            subject=reaction.event.subject,
            doc=reaction.doc.strip().splitlines()[0],
            state="stopped" if self._held else "paused" if self._is_paused(reaction.name) else "running",
            concurrency=reaction.concurrency,
            pending=await self._pending(consumer),
            running=tally.running,
            done=tally.done,
            repeated=tally.repeated,
            retried=tally.retried,
            parked=tally.parked,
            last_done_at=tally.last_done_at,
            p50_ms=tally.quantile_ms(0.5),
            p99_ms=tally.quantile_ms(0.99),
        )

    async def _pending(self, consumer: Consumer) -> int:
        if not self._place.bus.ready.is_set():
            return 0
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            async with asyncio.timeout(2):
                return await consumer.pending()
        return 0

    async def _ensure(self, consumer: Consumer) -> None:
        while True:
            await self._place.bus.ready.wait()
            try:
                await consumer.ensure()
                return
            except (nats.errors.Error, APIError, OSError, TimeoutError, AssertionError) as error:
                log.warning("consumer.waiting", consumer=consumer.reaction.name, error=type(error).__name__)
                await asyncio.sleep(0.5)

    async def _ensure_again(self) -> None:
        """A new connection may be to a server that has lost its store: make the consumers again."""
        seen = self._place.bus.generation
        while True:
            await asyncio.sleep(1)
            if self._place.bus.ready.is_set() and self._place.bus.generation != seen:
                seen = self._place.bus.generation
                for consumer in self.consumers.values():
                    await self._ensure(consumer)

    def _known(self, reaction: str | None) -> str:
        if reaction is None or reaction == ALL:
            return ALL
        if reaction not in self.consumers:
            raise Missing(f"no reaction is called {reaction!r}; there are: {', '.join(sorted(self.consumers))}")
        return reaction

    def _is_paused(self, name: str) -> bool:
        return ALL in self._paused or name in self._paused

    def _gate(self) -> None:
        for name, consumer in self.consumers.items():
            if self._held or self._is_paused(name):
                consumer.open.clear()
            else:
                consumer.open.set()


def _read_pauses(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT reaction, reason FROM pauses").fetchall()
