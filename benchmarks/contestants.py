"""Those who race in `events.py`: each consumes the same messages from its own durable, in a process of its own.

Started as `python benchmarks/contestants.py NAME '{"url": ..., ...}'`; prints one line of JSON. The clock runs
from after the connection until the last message is handled and its acknowledgement is with the server.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import nats
from pydantic import SecretStr

FETCH = 200
OURS_CONCURRENCY = 256


@dataclass(frozen=True)
class Race:
    """Where to consume what. The durable exists; it begins with the first message of the stream."""

    url: str
    user: str
    password: str
    stream: str
    subject: str
    durable: str
    events: int


@dataclass(frozen=True)
class Finish:
    """Seconds on the clock, and of processor time (all threads) within them."""

    seconds: float
    cpu_s: float


class Stopwatch:
    """Counts messages and stops when all are there."""

    def __init__(self, events: int) -> None:
        self._left = events
        self.finished = asyncio.Event()
        self.start()

    def start(self) -> None:
        self._began = time.perf_counter()
        self._cpu_began = _cpu_s()

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.finished.set()

    def stop(self) -> Finish:
        return Finish(time.perf_counter() - self._began, _cpu_s() - self._cpu_began)


async def ours(race: Race) -> Finish:
    """The daemon's runtime: decoded, validated, ledgered with fsync, logged to a file, double-acknowledged."""
    from gtftd import logs
    from gtftd.bus import Bus, Reaction, Retry, Runtime, Workplace
    from gtftd.health import Health
    from gtftd.metrics import Activity, Metrics
    from gtftd.schemas.event import Event
    from gtftd.schemas.settings import BusSettings
    from gtftd.schemas.town import BeadClosed
    from gtftd.state import Database, Ledger, Outbox

    async def handle(event: Event) -> None:
        assert isinstance(event, BeadClosed)

    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        logs.configure("info", Path(folder) / "log", console=False)
        settings = BusSettings(url=race.url, daemon_user=race.user, daemon_password=SecretStr(race.password))
        reaction = Reaction(
            name=race.durable,
            event=BeadClosed,
            key=lambda event: event.bead,
            retry=Retry(),
            concurrency=OURS_CONCURRENCY,
            timeout=timedelta(minutes=1),
            function=handle,
            doc="When raced.",
            services={},
        )
        database = Database.open(Path(folder) / "state.db")
        health, metrics, activity = Health(), Metrics(), Activity()
        bus = Bus(settings, None, health)
        outbox = Outbox(database, prefix="gtftd", source="bench")
        place = Workplace(bus, Ledger(database, "boot"), outbox, health, metrics, activity, lambda _event: None)
        runtime = Runtime([reaction], {race.durable: {}}, place, database)
        connection = asyncio.create_task(bus.run())
        await bus.ready.wait()
        watch = Stopwatch(race.events)
        running = asyncio.create_task(runtime.run())
        tally = runtime.consumers[race.durable].tally
        while tally.done < race.events:
            await asyncio.sleep(0.002)
        finish = watch.stop()
        running.cancel()
        connection.cancel()
        await asyncio.wait([running, connection])
        await bus.close()
        database.close()
    return finish


async def faststream(race: Race, *, sync: bool = False) -> Finish:
    """FastStream's pull consumer with a pydantic model and its ordinary acknowledgement, or with `ack_sync`."""
    from peer_faststream import make_broker

    watch = Stopwatch(race.events)
    broker = make_broker(race, FETCH, watch.count, sync=sync)
    connection = await broker.connect()
    watch.start()
    await broker.start()
    await watch.finished.wait()
    await asyncio.sleep(0)  # the acknowledgement of the last one follows its handler
    await connection.flush()
    finish = watch.stop()
    await broker.stop()
    return finish


async def plain(race: Race, *, sync: bool = False) -> Finish:
    """nats-py alone: fetch(200), json.loads, acknowledge."""
    client = await nats.connect(race.url, user=race.user, password=race.password)
    watch = Stopwatch(race.events)
    subscription = await client.jetstream().pull_subscribe_bind(race.durable, race.stream)
    while not watch.finished.is_set():
        for message in await subscription.fetch(FETCH, timeout=5):
            json.loads(message.data)
            await (message.ack_sync() if sync else message.ack())
            watch.count()
    await client.flush()
    finish = watch.stop()
    await client.close()
    return finish


async def faststream_sync(race: Race) -> Finish:
    return await faststream(race, sync=True)


async def plain_sync(race: Race) -> Finish:
    return await plain(race, sync=True)


CONTESTANTS: dict[str, Callable[[Race], Awaitable[Finish]]] = {
    "gtftd": ours,
    "faststream": faststream,
    "faststream-ack-sync": faststream_sync,
    "nats-py": plain,
    "nats-py-ack-sync": plain_sync,
}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main() -> None:
    finish = await CONTESTANTS[sys.argv[1]](Race(**json.loads(sys.argv[2])))
    print(json.dumps(asdict(finish)))


if __name__ == "__main__":
    asyncio.run(main())
