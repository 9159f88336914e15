"""The daemon's end of the index: starts the process that owns it, speaks to it, and feeds it what it has missed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gtftd.control.client import ControlClient
from gtftd.corpus.filing import document_id
from gtftd.corpus.living import LivingBeads, LivingPart
from gtftd.errors import GtftdError, NotReady, Unreachable
from gtftd.health import Health
from gtftd.logs import get_logger
from gtftd.rag import Feed
from gtftd.schemas import rag as wire
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.settings import CollectionSettings, SettingsModel
from gtftd.scrub.latest import LatestScrubber
from gtftd.settings import runtime_socket
from gtftd.state import Database
from gtftd.state.outbox import read_cursor, write_cursor
from gtftd.town.beads_server import rig_of_database
from gtftd.town.layout import Town

log = get_logger("rag")
CURSOR = "rag"
TEXT_VERSION = 1
"""Of the rules by which entries and beads become documents: another one feeds everything anew."""
START_S = 120.0
STOP_S = 10.0
AGAIN_S = 5.0
"""After a feeding in which a database did not answer; doubled each time."""
PATIENCE_S = 30.0
"""How long a reaction waits for an index that is starting."""
LONGEST_PAUSE_S = 300.0


class IndexLine:
    """Speaks to the index process, one connection a call. Raises Unreachable when it does not answer."""

    def __init__(self, state_dir: Path) -> None:
        self._client = ControlClient(runtime_socket(state_dir, "index"), whom="the index", timeout_s=60.0)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="gtftd-index")
        self.ready = asyncio.Event()
        self.broken = ""
        """Why nobody should wait for it; empty while it may come."""

    async def put(self, documents: Sequence[wire.IndexDocument], *, forget: bool = False) -> None:
        await self._wait()
        await self.call("index.put", wire.PutParams(documents=tuple(documents), forget=forget))

    async def remove(self, ids: Sequence[str], *, forget: bool = False) -> None:
        await self._wait()
        await self.call("index.remove", wire.RemoveParams(ids=tuple(ids), forget=forget))

    async def ids(self, prefix: str) -> frozenset[str]:
        await self._wait()
        answer = await self.call("index.ids", wire.IdsParams(prefix=prefix))
        return frozenset(wire.IdsResult.model_validate(answer).ids)

    async def search(self, query: wire.SearchQuery) -> wire.SearchResult:
        return wire.SearchResult.model_validate(await self._ask("index.search", query))

    async def prime(self, params: wire.PrimeParams) -> wire.PrimeResult:
        return wire.PrimeResult.model_validate(await self._ask("index.prime", params))

    async def status(self) -> wire.IndexStatus:
        return wire.IndexStatus.model_validate(await self._ask("index.status", None))

    async def begin_anew(self) -> None:
        await self._ask("index.begin_anew", None)

    async def call(self, verb: str, params: BaseModel | None) -> dict[str, Any]:
        """At once, whether it is ready or not."""
        given = {} if params is None else params.model_dump(mode="json")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: self._client.call(verb, **given))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, verb: str, params: BaseModel | None) -> dict[str, Any]:
        if not self.ready.is_set():
            raise NotReady(self.broken or "the index is starting; ask again in a few seconds")
        return await self.call(verb, params)

    async def _wait(self) -> None:
        if self.broken:
            raise Unreachable(self.broken)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.ready.wait()
        except TimeoutError:
            raise Unreachable(f"the index was not ready within {PATIENCE_S:g} s") from None


class IndexKeeper:
    """Keeps one index process alive, and the index complete. Its death delays nothing and loses nothing."""

    def __init__(
        self,
        settings: SettingsModel,
        state_dir: Path,
        line: IndexLine,
        feed: Feed,
        database: Database,
        scrubber: LatestScrubber,
        health: Health,
    ) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._line = line
        self._feed = feed
        self._database = database
        self._scrubber = scrubber
        self._health = health
        self._feeding = asyncio.Lock()
        self.fed_at: float | None = None
        self.feeding: CollectProgress | None = None
        """How far a feeding has come that runs now."""

    async def run(self) -> None:
        """Until cancelled."""
        if not self._settings.rag.enabled:
            self._line.broken = "rag.enabled is false in the configuration"
            self._health.off("index", self._line.broken)
            return
        failures = 0
        while True:
            began = time.monotonic()
            why = await self._live()
            log.warning("index.ended", why=why)
            failures = 1 if time.monotonic() - began > START_S else failures + 1
            if failures > 1:
                self._line.broken = why
                self._health.degraded("index", "index.down", f"{why}; it is started again, see logs/index.log")
            await asyncio.sleep(min(2.0 ** (failures - 1), LONGEST_PAUSE_S))

    @property
    def is_behind(self) -> bool:
        return self._feed.behind.is_set()

    async def rebuild(self, *, anew: bool) -> AsyncIterator[CollectProgress]:
        """Feed everything, after forgetting everything with `anew`. One at a time: the second waits for the first."""
        async with self._feeding:
            if anew:
                await self._line.begin_anew()
            async for progress in self._feed_all(forget=False):
                yield progress

    async def _live(self) -> str:
        """One life of the process; returns why it ended."""
        process = await self._spawn()
        try:
            ended = asyncio.create_task(process.wait())
            if not await self._started(ended):
                return f"the index process ended with status {process.returncode} before it was ready"
            self._line.broken = ""
            self._line.ready.set()
            self._health.ok("index")
            await self._tend(ended)
            return f"the index process ended with status {process.returncode}"
        finally:
            self._line.ready.clear()
            await _stop(process)

    async def _spawn(self) -> asyncio.subprocess.Process:
        """It ends by itself when its standard input does: with this process, however that dies."""
        environment = os.environ | {"GTFTD_RAG__MODEL": self._settings.rag.model, "ANONYMIZED_TELEMETRY": "False"}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "gtftd.programs.index", str(self._state_dir),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )  # fmt: skip

    async def _started(self, ended: asyncio.Task[int]) -> bool:
        deadline = time.monotonic() + START_S
        while not ended.done() and time.monotonic() < deadline:
            with contextlib.suppress(Unreachable, NotReady):
                await self._line.call("index.status", None)
                return True
            await asyncio.wait([ended], timeout=0.1)
        return False

    async def _tend(self, ended: asyncio.Task[int]) -> None:
        """Feed when something was missed, compare now and then, until the process ends."""
        pause_s = AGAIN_S
        while not ended.done():
            try:
                is_whole = await self._catch_up()
                await self._feed.compare()
            except GtftdError as error:
                is_whole = False
                log.warning("index.unfed", error=str(error))
            pause_s = AGAIN_S if is_whole else pause_s * 2
            behind = asyncio.create_task(self._feed.behind.wait())
            waiting_s = self._settings.rag.compare_s if is_whole else min(pause_s, self._settings.rag.compare_s)
            await asyncio.wait([ended, behind], timeout=waiting_s, return_when="FIRST_COMPLETED")
            behind.cancel()
            await asyncio.sleep(1.0)  # what made it fall behind may go on for a moment

    async def _catch_up(self) -> bool:
        """Nothing to do when the index is the one that was fed before, by the same rules, and has missed nothing.

        False when a database did not answer: then it must be tried again soon.
        """
        now = await self._marks()
        before = await self._database.read(lambda connection: read_cursor(connection, CURSOR)) or {}
        if before == now and not self._feed.behind.is_set():
            return True
        learned = "scrubber" in before and before["scrubber"] != now["scrubber"]
        async with self._feeding:
            async for progress in self._feed_all(forget=learned):
                last = progress
        return not last.note

    async def _feed_all(self, *, forget: bool) -> AsyncIterator[CollectProgress]:
        marks = await self._marks()
        started = time.monotonic()
        try:
            async for progress in self._feed.everything(forget=forget):
                self.feeding = progress
                yield progress
            if progress.note:
                log.warning("index.fed_in_part", detail=progress.note)
                return
            await self._database.write(_marked(marks))
            self.fed_at = time.time()
            log.info("index.fed", documents=progress.done, took_s=round(time.monotonic() - started, 3))
        finally:
            self.feeding = None

    async def _marks(self) -> dict[str, Any]:
        status = wire.IndexStatus.model_validate(await self._line.call("index.status", None))
        scrubber = await asyncio.to_thread(self._scrubber)
        return {
            "generation": status.generation,
            "scrubber": scrubber.version,
            "text": TEXT_VERSION,
            "databases": await self._feed.databases(),
        }


class TownBeads:
    """The beads of those rigs whose work may be collected, but for those that were purged."""

    def __init__(
        self, living: LivingBeads, town: Callable[[], Town], limits: CollectionSettings, database: Database
    ) -> None:
        self._living = living
        self._database = database
        self._town = town
        self._limits = limits

    async def databases(self) -> dict[str, str | None]:
        town = await asyncio.to_thread(self._town)
        rigs = {database: rig_of_database(town, database) for database in await self._living.databases()}
        return {database: rig for database, rig in rigs.items() if self._limits.allows(rig)}

    async def of(self, database: str, beads: Sequence[str]) -> LivingPart:
        entries = {document_id("operational", f"bead:{database}/{bead}"): bead for bead in beads}
        purged = await self._database.read(_purged(list(entries)))
        part = await self._living.of(database, [bead for id_, bead in entries.items() if id_ not in purged])
        return LivingPart(part.found, (*part.gone, *(entries[id_] for id_ in purged)))

    def ids(self, database: str) -> AsyncIterator[list[str]]:
        return self._living.ids(database)


def _purged(entry_ids: Sequence[str]) -> Callable[[sqlite3.Connection], list[str]]:
    sql = f"SELECT entry_id FROM purges WHERE entry_id IN ({','.join('?' * len(entry_ids))})"
    return lambda connection: [row[0] for row in connection.execute(sql, entry_ids)]


def _marked(marks: dict[str, Any]) -> Callable[[sqlite3.Connection], None]:
    return lambda connection: write_cursor(connection, CURSOR, marks)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
