"""Owns the index, in a process of its own: `python -P -m gtftd.programs.index STATE_DIR [--config FILE]`.

It answers on `run/index.sock` as soon as words can be searched; the embedding model is loaded meanwhile. It ends with
SIGTERM, and with its parent: the parent holds the other end of its standard input. Exit 0 then, 1 when it cannot begin.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from gtftd import logs
from gtftd.control.server import ControlServer, Limits
from gtftd.errors import GtftdError
from gtftd.schemas.protocol import NoParams
from gtftd.schemas.rag import (
    IdsParams,
    IdsResult,
    IndexStatus,
    PrimeParams,
    PrimeResult,
    PutParams,
    PutResult,
    RemoveParams,
    SearchQuery,
    SearchResult,
)
from gtftd.settings import load_settings, runtime_socket

if TYPE_CHECKING:
    from gtftd.rag.embedding import Embedder
    from gtftd.rag.index import Index

T = TypeVar("T")
log = logs.get_logger("rag")
REQUEST_BYTES = 8 * 1024 * 1024
READERS = 3
CHECK_S = 2.0
NICE = 5
BUG = 70
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    """The exit code; see above."""
    options = _parse(arguments)
    folder = options.state_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    logs.configure(options.log_level, folder / "index.log", console=False)
    _behave()
    try:
        model = load_settings(options.config).rag.model
        asyncio.run(_Child(options.state_dir, model).run())
    except GtftdError as error:
        log.error("index.refused", error=str(error))  # noqa: TRY400  # a sentence for a person says it all
        print(f"gtftd index: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


class _Runner(Protocol):
    """Runs work in a thread."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


class _Child:
    """Writes one after the other in a thread of their own, so that searches never wait behind them."""

    def __init__(self, state_dir: Path, model: str) -> None:
        self._state_dir = state_dir
        self._model = model
        self._stop = asyncio.Event()
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="gtftd-write")
        self._reads = ThreadPoolExecutor(READERS, thread_name_prefix="gtftd-read")

    async def run(self) -> None:
        """Until SIGTERM or the end of the parent."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._watch_parent(loop)
        server = ControlServer(
            runtime_socket(self._state_dir, "index"), limits=Limits(request_bytes=REQUEST_BYTES, idle_s=600.0)
        )
        index = await self._opened(loop)
        try:
            _Verbs(index, self._written, self._read).register(server)
            await server.start()
            log.info("index.ready", **_figures(index.status()))
            await self._tend(index)
        finally:
            await server.close()
            await loop.run_in_executor(self._writes, index.close)
            self._writes.shutdown()
            self._reads.shutdown()
            log.info("index.stopped")

    async def _opened(self, loop: asyncio.AbstractEventLoop) -> Index:
        """A SIGTERM meanwhile ends us at once: we may be killed anywhere."""
        opening = loop.run_in_executor(self._writes, self._open)
        while not opening.done():
            await asyncio.wait([opening], timeout=0.1)
            if self._stop.is_set():
                os._exit(0)
        return await opening

    def _open(self) -> Index:
        from gtftd.rag.index import Index

        gc.disable()  # many small objects come, and stay
        try:
            return Index.open(self._state_dir / "rag", self._embedder)
        finally:
            gc.freeze()
            gc.enable()

    def _embedder(self) -> Embedder:
        from gtftd.rag.embedding import load_embedder

        return load_embedder(self._model)

    async def _tend(self, index: Index) -> None:
        while not self._stop.is_set():
            await self._written(index.check)
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._stop.wait()
            except TimeoutError:
                continue

    async def _written(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writes, work)

    async def _read(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reads, work)

    def _watch_parent(self, loop: asyncio.AbstractEventLoop) -> None:
        """A parent that held the other end of our standard input and died has closed it."""
        if not stat.S_ISFIFO(os.fstat(0).st_mode) and not stat.S_ISSOCK(os.fstat(0).st_mode):
            return

        def heard() -> None:
            if not os.read(0, 4096):
                loop.remove_reader(0)
                self._stop.set()

        loop.add_reader(0, heard)


class _Verbs:
    """What the daemon may ask."""

    def __init__(self, index: Index, write: _Runner, read: _Runner) -> None:
        self._index = index
        self._write = write
        self._read = read

    def register(self, server: ControlServer) -> None:
        server.verb("index.put", PutParams, self.put, timeout_s=120.0)
        server.verb("index.remove", RemoveParams, self.remove, timeout_s=120.0)
        server.verb("index.begin_anew", NoParams, self.begin_anew, timeout_s=120.0)
        server.verb("index.ids", IdsParams, self.ids)
        server.verb("index.search", SearchQuery, self.search)
        server.verb("index.status", NoParams, self.status)
        server.verb("index.prime", PrimeParams, self.prime)

    async def put(self, params: PutParams) -> PutResult:
        return await self._write(lambda: self._index.put(params.documents, forget=params.forget))

    async def remove(self, params: RemoveParams) -> PutResult:
        return await self._write(lambda: self._index.remove(params.ids, forget=params.forget))

    async def begin_anew(self, params: NoParams) -> IndexStatus:
        await self._write(self._index.begin_anew)
        return await self.status(params)

    async def ids(self, params: IdsParams) -> IdsResult:
        return IdsResult(ids=tuple(await self._read(lambda: self._index.ids(params.prefix))))

    async def search(self, params: SearchQuery) -> SearchResult:
        return await self._read(lambda: self._index.search(params))

    async def status(self, _params: NoParams) -> IndexStatus:
        return await self._read(self._index.status)

    async def prime(self, params: PrimeParams) -> PrimeResult:
        from gtftd.rag.picture import IndexPicture
        from gtftd.rag.prime import build_prime

        return await self._read(lambda: build_prime(IndexPicture(self._index), params))


def _behave() -> None:
    """A polite process: one core, behind the daemon, gone with its parent."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["ANONYMIZED_TELEMETRY"] = "False"
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(NICE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.excepthook = _end_with_thread


def _end_with_thread(what: threading.ExceptHookArgs) -> None:
    """A thread that died of a bug would leave an index that answers and does not follow: better to begin again."""
    if what.exc_value is not None:
        log.error("thread.died", thread=what.thread and what.thread.name, exc_info=what.exc_value)
    os._exit(BUG)


def _figures(status: IndexStatus) -> dict[str, object]:
    return {
        "generation": status.generation,
        "chunks": sum(one.chunks for one in status.collections),
        "rss_bytes": status.rss_bytes,
        "healed": list(status.healed),
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gtftd-index", description=__doc__)
    parser.add_argument("state_dir", type=Path, help="the daemon's state directory")
    parser.add_argument("--config", type=Path, help="the configuration, as the daemon reads it")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
