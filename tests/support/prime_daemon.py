"""A real control server that answers `prime`, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gtftd.control.server import ControlServer
from gtftd.errors import GtftdError
from gtftd.schemas.rag import PrimeParams, PrimeResult, PrimeSection

ANSWER = PrimeResult(
    text="# Reduced prime: fine-tuned model active for role polecat\n\nYou are nux.\n",
    tokens=321,
    counted_by="estimate",
    sections=(PrimeSection(name="who you are", tokens=121), PrimeSection(name="the bead", tokens=200)),
)


@dataclass
class PrimeDaemon:
    """What it says is for a test to set."""

    answer: PrimeResult = ANSWER
    error: GtftdError | None = None
    waits: bool = False
    asked: list[PrimeParams] = field(default_factory=list)


@contextlib.contextmanager
def prime_daemon(state_dir: Path) -> Iterator[PrimeDaemon]:
    """Serve until the block ends."""
    daemon, started, stopping = PrimeDaemon(), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def prime(params: PrimeParams) -> PrimeResult:
        daemon.asked.append(params)
        if daemon.waits:
            await stopping.wait()
        if daemon.error is not None:
            raise daemon.error
        return daemon.answer

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        server = ControlServer(state_dir / "run" / "control.sock")
        server.verb("prime", PrimeParams, prime)
        await server.start()
        started.set()
        await stopping.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    try:
        yield daemon
    finally:
        loops[0].call_soon_threadsafe(stopping.set)
        thread.join()
