"""A real control server whose corpus verbs tell what a test wants to hear."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from gtftd.control.server import ControlServer
from gtftd.errors import Missing
from gtftd.schemas import control as wire
from gtftd.schemas import corpus_orders as orders
from gtftd.schemas.protocol import NoParams

DOUBT = orders.DoubtRow(
    digest="d1" * 16, placeholder="<GENERIC_SECRET:a1b2c3>", kind="GENERIC_SECRET", rule="entropy", entries=3,
    entry_id="0abcdef-0000", raised_at=1_760_000_000.0,
)  # fmt: skip
STREAMED = {
    "corpus.collect": orders.CollectParams,
    "corpus.artifacts": orders.ArtifactsParams,
    "corpus.operational": orders.OperationalParams,
    "corpus.interactions": NoParams,
    "corpus.prime": orders.PrimeParams,
    "corpus.sweep": NoParams,
    "corpus.add": orders.AddParams,
    "corpus.audit": orders.AuditParams,
}


@dataclass
class Told:
    """What the verbs answer, and what they were asked."""

    steps: list[BaseModel] = field(default_factory=list)
    stays_open: bool = False
    calls: list[tuple[str, BaseModel]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def corpus_verbs(socket: Path) -> Iterator[Told]:
    """Serve until the block ends."""
    told = Told()
    started = threading.Event()
    ending: list[Callable[[], object]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        ending.append(lambda: loop.call_soon_threadsafe(stop.set))
        server = ControlServer(socket)
        for verb, params in STREAMED.items():
            server.verb(verb, params, _streamed(told, verb))
        server.verb("corpus.doubts", orders.DoubtsParams, _answered(told, orders.DoubtsResult(doubts=(DOUBT,))))
        looked = orders.Looked(doubt=DOUBT, value="hunter2", context="password = <GENERIC_SECRET:a1b2c3>")
        server.verb("corpus.look", orders.DoubtParams, _answered(told, looked))
        passes = wire.ChangedResult(changed=(DOUBT.placeholder,), detail="passes from now on")
        server.verb("corpus.restore", orders.VerdictParams, _answered(told, passes))
        server.verb("corpus.keep", orders.VerdictParams, _answered(told, passes))
        gone = orders.PurgeResult(entry_id="0abcdef-0000", tainted_snapshots=("5a" * 32,))
        server.verb("corpus.purge", orders.PurgeParams, _answered(told, gone))
        await server.start()
        started.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(20)
    try:
        yield told
    finally:
        ending[0]()
        thread.join()


def _streamed(told: Told, verb: str) -> Callable[[BaseModel], AsyncIterator[BaseModel]]:
    async def handle(params: BaseModel) -> AsyncIterator[BaseModel]:
        told.calls.append((verb, params))
        try:
            for step in told.steps:
                yield step
            if told.stays_open:
                await asyncio.Event().wait()
        finally:
            told.hung_up.set()

    return handle


def _answered(told: Told, answer: BaseModel) -> Callable[[BaseModel], object]:
    async def handle(params: BaseModel) -> BaseModel:
        told.calls.append(("", params))
        if getattr(params, "digest", "").startswith("ffff"):
            raise Missing("no open doubt begins with ffff; `gtftctl corpus review` lists them")
        return answer

    return handle
