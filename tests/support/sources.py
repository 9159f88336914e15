"""A small town on disk with an open state, and helpers to run a source for a while."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

from gtftd.health import Health
from gtftd.metrics import Metrics
from gtftd.schemas.event import Envelope
from gtftd.sources.surroundings import Surroundings
from gtftd.state.database import Database
from gtftd.state.outbox import Outbox


class Runs(Protocol):
    async def run(self) -> None: ...


def make_town(root: Path, *rigs: str) -> Path:
    (root / "mayor").mkdir(parents=True, exist_ok=True)
    (root / "mayor" / "town.json").write_text('{"type":"town","version":1,"name":"test"}')
    write_rigs(root, *rigs)
    for rig in rigs:
        (root / rig / "mayor" / "rig" / ".beads").mkdir(parents=True, exist_ok=True)
    return root


def write_rigs(root: Path, *rigs: str) -> None:
    entries = {rig: {"beads": {"prefix": rig[:2]}} for rig in rigs}
    (root / "mayor" / "rigs.json").write_text(json.dumps({"version": 1, "rigs": entries}))


@contextlib.contextmanager
def opened(state: Path, root: Path, clock: Callable[[], float] = time.time) -> Iterator[Surroundings]:
    """Surroundings on a real state file, which outlives them."""
    database = Database.open(state / "state.db")
    try:
        outbox = Outbox(database, prefix="gtftd", source="test")
        yield Surroundings(root, outbox, database, Health(clock), Metrics(), clock)
    finally:
        database.close()


@contextlib.asynccontextmanager
async def running(source: Runs) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    try:
        yield
        if task.done():
            await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def facts(around: Surroundings) -> list[Envelope]:
    return [Envelope.model_validate_json(row.body) for row in await around.outbox.head(100_000)]


async def until(around: Surroundings, enough: Callable[[list[Envelope]], bool], limit_s: float = 20) -> list[Envelope]:
    """Wait for facts in the outbox; the test fails when they never come."""
    async with asyncio.timeout(limit_s):
        while not enough(found := await facts(around)):
            await asyncio.sleep(0.01)
    return found


async def fill_disk(around: Surroundings) -> None:
    """SQLite finds no room for another page, as on a full disk, until `free_disk`."""
    await around.database.write(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())


async def free_disk(around: Surroundings) -> None:
    await around.database.write(lambda connection: connection.execute("PRAGMA max_page_count = 1073741823").fetchone())


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0
