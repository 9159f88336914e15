"""A real control server with small verbs, in a thread of its own: what the client and gtftctl talk to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from pydantic import BaseModel

from gtftd.control.server import ControlServer, Limits
from gtftd.errors import Conflict, Missing
from gtftd.schemas.control import (
    BusStatus,
    ChangedResult,
    ClosesStatus,
    ConditionStatus,
    DrainParams,
    HappeningResult,
    HealthResult,
    LogLine,
    LogsParams,
    MetricsResult,
    ParkedDropParams,
    ParkedListParams,
    ParkedListResult,
    ParkedRetryParams,
    ParkedRow,
    ParkedShowParams,
    ParkedShowResult,
    PauseParams,
    ReactionsResult,
    ReactionStatus,
    ResumeParams,
    SourceStatus,
    StatusResult,
    StreamStatus,
    VersionResult,
    WatchParams,
)
from gtftd.schemas.corpus_views import EntriesParams, EntriesResult, EntriesStatus, EntryRow
from gtftd.schemas.protocol import NoParams

ROW = EntryRow(
    entry_id="e3b0c44298fc1c14",
    sha256="ab" * 32,
    role="polecat",
    rig="gastown",
    bead="gt-abc12",
    outcome="merged",
    confidence=0.95,
    messages=42,
    redactions=3,
    stored_at=1_760_000_100.0,
    path="/state/entries/ab.json",
)
REACTION = ReactionStatus(
    name="collect_bead", subject="gtftd.town.bead.closed", done=9, parked=1, p50_ms=12.5, p99_ms=80.0
)
PARKED = ParkedRow(
    id=7, reaction="collect_bead", key="gt-abc12/1", attempts=6, error="Invalid: no", parked_at=1_760_000_000.0
)


class Daemon:
    """The state behind the verbs, for tests to set and to look at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[tuple[str, BaseModel]] = []
        self.healthy = True
        self.happenings = [
            HappeningResult(at=1_760_000_000.0, kind="event", name="bead.closed", detail={"bead": "gt-abc12"}),
            HappeningResult(at=1_760_000_001.0, kind="entry", name="entry.stored", detail={"role": "polecat"}),
        ]

    def status(self) -> StatusResult:
        return StatusResult(
            version="0.1.0",
            boot_id="boot",
            pid=123,
            town="/town/gt",
            state_dir=str(self.path.parent),
            started_at=1_760_000_000.0,
            uptime_s=3725.0,
            bus=BusStatus(
                url="nats://127.0.0.1:4222",
                connected=True,
                streams=(StreamStatus(name="GTFTD_TOWN", messages=120, bytes=64_000),),
            ),
            sources=(SourceStatus(name="spool", facts=12, last_fact_at=1_760_000_000.0),),
            reactions=(REACTION,),
            entries=EntriesStatus(folder="/state/entries", total=9, by_role={"polecat": 8, "mayor": 1}, last=ROW),
            health=self.health().conditions,
            missed={"transcripts": 1},
            closes=ClosesStatus(seen=10, with_entry=9, skipped=1),
        )

    def health(self) -> HealthResult:
        bad = ConditionStatus(
            component="dolt", state="degraded", name="dolt.unreachable", detail="127.0.0.1:3307 refuses", since=1.0
        )
        good = ConditionStatus(component="nats", state="ok")
        return HealthResult(ok=self.healthy, conditions=(good,) if self.healthy else (bad, good))


def serve_verbs(server: ControlServer, daemon: Daemon) -> None:
    """Register every verb of the protocol."""

    def note(verb: str, params: BaseModel, answer: BaseModel) -> BaseModel:
        daemon.calls.append((verb, params))
        return answer

    def simple(verb: str, params: type[BaseModel], answer: Callable[[], BaseModel]) -> None:
        async def handle(given: BaseModel) -> BaseModel:
            return note(verb, given, answer())

        server.verb(verb, params, handle)

    simple("status", NoParams, daemon.status)
    simple("health", NoParams, daemon.health)
    simple("reactions", NoParams, lambda: ReactionsResult(reactions=(REACTION,)))
    simple("resume", ResumeParams, lambda: ChangedResult(changed=("collect_bead",)))
    simple("drain", DrainParams, lambda: ChangedResult(detail="drained"))
    simple("parked.list", ParkedListParams, lambda: ParkedListResult(total=1, parked=(PARKED,)))
    simple("parked.retry", ParkedRetryParams, lambda: ChangedResult(changed=("7",)))
    simple("parked.drop", ParkedDropParams, lambda: ChangedResult(changed=("7",)))
    simple("metrics", NoParams, lambda: MetricsResult(text="gtftd_outbox_rows 0.0\n"))
    simple("entries", EntriesParams, lambda: EntriesResult(folder="/state/entries", total=9, entries=(ROW,)))
    simple("version", NoParams, lambda: VersionResult(version="0.1.0", pid=1))

    async def pause(params: PauseParams) -> BaseModel:
        if params.reaction == "unknown":
            raise Missing("no reaction is called unknown; there are: collect_bead")
        return note("pause", params, ChangedResult(changed=(params.reaction or "*",)))

    async def show(params: ParkedShowParams) -> BaseModel:
        if params.id != PARKED.id:
            raise Missing(f"nothing is parked under {params.id}")
        told = PARKED.model_dump() | {"traceback": "Traceback ...", "event": {"type": "gtftd.bead.closed.v1"}}
        return note("parked.show", params, ParkedShowResult(**told))

    async def crash(params: NoParams) -> BaseModel:
        raise ZeroDivisionError("secret detail")

    async def logs(params: LogsParams) -> AsyncIterator[BaseModel]:
        for number in range(min(params.lines, 3)):
            yield LogLine(line=f'{{"event": "line.{number}", "level": "info", "timestamp": "2026-01-01T00:00:00Z"}}')

    async def watch(params: WatchParams) -> AsyncIterator[BaseModel]:
        for happening in daemon.happenings:
            yield happening
        await asyncio.Event().wait()

    server.verb("pause", PauseParams, pause)
    server.verb("parked.show", ParkedShowParams, show)
    server.verb("test.crash", NoParams, crash)
    server.verb("logs", LogsParams, logs)
    server.verb("watch", WatchParams, watch)


@contextlib.contextmanager
def control_server(path: Path, *, limits: Limits | None = None) -> Iterator[Daemon]:
    """Serve on `path` from a thread until the block ends."""
    daemon = Daemon(path)
    started = threading.Event()
    trouble: list[BaseException] = []
    ending: list[Callable[[], object]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        ending.append(lambda: loop.call_soon_threadsafe(stop.set))
        server = ControlServer(path, limits=limits)
        serve_verbs(server, daemon)
        try:
            await server.start()
        except Conflict as error:
            trouble.append(error)
            return
        finally:
            started.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    try:
        if trouble:
            raise trouble[0]
        yield daemon
    finally:
        if not trouble:
            ending[0]()
        thread.join()
