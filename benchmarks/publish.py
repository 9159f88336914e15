"""Outbox to stream: facts a second from committed rows to the server's acknowledgement and out of the outbox.

The server syncs every message. Ours is the daemon's publisher (256 rows at a time, in order, removed with
fsync); beside it nats-py publishes the same bodies one by one, and 256 at a time without an outbox. In turn,
forwards and backwards: `python benchmarks/publish.py --rounds 6`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from events import SUBJECT, body

from gtftd.bus import Bus, EmbeddedServer, Publisher
from gtftd.health import Health
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.settings import BusSettings
from gtftd.state import Database, Outbox

AT_ONCE = 256
Rows = list[tuple[str, str, bytes]]


class Desk:
    """A bus with its own server, and an outbox beside it."""

    def __init__(self, folder: Path) -> None:
        health, metrics, activity = Health(), Metrics(), Activity()
        self.database = Database.open(folder / "state.db")
        self.outbox = Outbox(self.database, prefix="gtftd", source="bench")
        self.bus = Bus(BusSettings(), EmbeddedServer(folder / "bus", BusSettings(), "bench"), health)
        self.publisher = Publisher(self.outbox, self.bus, health, metrics, activity)

    async def ours(self, rows: Rows) -> None:
        while await self.publisher.drain_once():
            pass

    async def one_by_one(self, rows: Rows) -> None:
        for id_, subject, told in rows:
            await self.bus.js.publish(subject, told, headers={"Nats-Msg-Id": id_})

    async def many(self, rows: Rows) -> None:
        for start in range(0, len(rows), AT_ONCE):
            waiting = [
                await self.bus.js.publish_async(subject, told, headers={"Nats-Msg-Id": id_})
                for id_, subject, told in rows[start : start + AT_ONCE]
            ]
            await asyncio.gather(*waiting)


async def race(folder: Path, events: int, rounds: int) -> dict[str, list[float]]:
    desk = Desk(folder)
    running = asyncio.create_task(desk.bus.run())
    await desk.bus.ready.wait()
    ways: dict[str, Callable[[Rows], Awaitable[None]]] = {
        "gtftd outbox": desk.ours,
        "nats-py, 256 at a time": desk.many,
        "nats-py, one by one": desk.one_by_one,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 == 0 else reversed(ways):
            rows = [(f"{name}-{number}-{index}", SUBJECT, body(index)) for index in range(events)]
            if name == "gtftd outbox":
                await desk.outbox.put_encoded(rows)
            began, cpu_began = time.perf_counter(), time.process_time()
            await ways[name](rows)
            taken_s = time.perf_counter() - began
            rates[name].append(events / taken_s)
            print(f"  {name:<26}{rates[name][-1]:9.0f}/s  cpu {time.process_time() - cpu_began:5.2f} s")
    running.cancel()
    await asyncio.wait([running])
    await desk.bus.close()
    desk.database.close()
    return rates


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=4_000)
    arguments.add_argument("--rounds", type=int, default=6)
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        rates = asyncio.run(race(Path(folder), chosen.events, chosen.rounds))
    print(f"\n{'events/s':<28}{'min':>9}{'median':>9}{'max':>9}")
    for name, found in rates.items():
        print(f"{name:<28}{min(found):9.0f}{statistics.median(found):9.0f}{max(found):9.0f}")


if __name__ == "__main__":
    main()
