"""A workplace with a real nats-server, a real state file, and reactions of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gtftd.bus import Bus, EmbeddedServer, Publisher, Reaction, Retry, Runtime, Workplace
from gtftd.health import Health
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.event import Event
from gtftd.schemas.settings import BusSettings
from gtftd.schemas.town import BeadTouched
from gtftd.state import Database, Ledger, Outbox, Outgoing


def touched(bead: str) -> BeadTouched:
    return BeadTouched(at=datetime.now(UTC), seen_by="emit", bead=bead, change="update")


def outgoing(bead: str, id_: str | None = None) -> Outgoing:
    return Outgoing(id_ or f"id-{bead}", touched(bead), datetime.now(UTC))


def reaction(
    name: str,
    function: Callable[..., Any],
    *,
    event: type[Event] = BeadTouched,
    key: Callable[[Any], str] = lambda event: event.bead,
    attempts: int = 3,
    concurrency: int = 4,
    timeout_s: float = 5,
) -> Reaction:
    retry = Retry(attempts=attempts, first=timedelta(milliseconds=50), most=timedelta(seconds=1))
    return Reaction(name, event, key, retry, concurrency, timedelta(seconds=timeout_s), function, "When tested.", {})


class Place:
    """A running bus; `start` begins the consumers, leaving the context ends everything."""

    def __init__(
        self,
        folder: Path,
        reactions: list[Reaction],
        *,
        boot_id: str = "boot-1",
        settings: BusSettings | None = None,
    ) -> None:
        settings = settings or BusSettings()
        self.database = Database.open(folder / "state.db")
        self.health = Health()
        self.metrics = Metrics()
        self.activity = Activity()
        self.outbox = Outbox(self.database, prefix="gtftd", source="test")
        self.ledger = Ledger(self.database, boot_id)
        self.server = EmbeddedServer(folder / "bus", settings, "test")
        self.bus = Bus(settings, None if settings.url else self.server, self.health)
        self.bus.listeners.add(self.outbox.filled.set)
        self.hold: Callable[[Event], timedelta | None] = lambda _event: None
        self.workplace = Workplace(
            self.bus, self.ledger, self.outbox, self.health, self.metrics, self.activity, lambda e: self.hold(e)
        )
        self.runtime = Runtime(reactions, {item.name: {} for item in reactions}, self.workplace, self.database)
        self.publisher = Publisher(self.outbox, self.bus, self.health, self.metrics, self.activity)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.runtime.load()
        self._tasks = [
            asyncio.create_task(self.bus.run()),
            asyncio.create_task(self.runtime.run()),
        ]
        async with asyncio.timeout(10):
            await self.bus.ready.wait()
            for consumer in self.runtime.consumers.values():
                while not await self._exists(consumer.stream, consumer.reaction.name):
                    await asyncio.sleep(0.01)
        self._tasks.append(asyncio.create_task(self.publisher.run()))

    async def _exists(self, stream: str, name: str) -> bool:
        with contextlib.suppress(Exception):
            await self.bus.js.consumer_info(stream, name)
            return True
        return False

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.bus.close()
        self.database.close()


@contextlib.asynccontextmanager
async def place(folder: Path, reactions: list[Reaction], **options: Any) -> AsyncIterator[Place]:
    made = Place(folder, reactions, **options)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def until(condition: Callable[[], Any], *, within_s: float = 15) -> None:
    """Wait until a condition holds; the limit only ends a broken test."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)
