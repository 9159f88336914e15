"""gtftd: listens to a town, reacts, and keeps what its agents did as training entries."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import gtftd
from gtftd import logs
from gtftd.control.exposition import metrics_served
from gtftd.control.logtail import log_file
from gtftd.control.notify import READY, STOPPING, extend_timeout, notify, status
from gtftd.control.server import ControlServer
from gtftd.errors import Conflict, GtftdError
from gtftd.programs.keeping import beat, look_for_estop
from gtftd.programs.orders import Orders
from gtftd.programs.parts import Parts
from gtftd.programs.upkeep import upkeep
from gtftd.schemas.control import Phase
from gtftd.settings import load_settings, runtime_socket, state_dir_of
from gtftd.town.layout import find_town, load_town

log = logs.get_logger("daemon")
READY_WITHOUT_BUS_S = 5.0


def main() -> None:
    """Entry point of the program `gtftd`. Ends with 0 after SIGTERM or Ctrl-C, with 1 and one line on an error."""
    arguments = _arguments()
    try:
        settings = load_settings(arguments.config, _overrides(arguments))
        root = find_town(settings.town)
        state_dir = state_dir_of(settings, load_town(root))
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (state_dir / "logs").mkdir(exist_ok=True, mode=0o700)
        logs.configure(settings.log.level, log_file(state_dir), console=arguments.console)
        with _alone(state_dir):
            asyncio.run(Daemon(Parts(settings, root, state_dir)).run())
    except GtftdError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # the program's last words
        sys.exit(1)


class Daemon:
    """Starts the parts in order, says READY, waits for a signal, and ends them in the opposite order."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.started_at = time.time()
        self.phase: Phase = "starting"
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until a signal or an order to drain. A part that dies of a bug ends the daemon, loudly."""
        parts = self.parts
        self._listen_to_signals()
        parts.spool.ensure()
        parts.store.prepare()
        await parts.store.tidy()
        await parts.tidy_registry()
        await parts.runtime.load()
        look_for_estop(parts)
        control = ControlServer(runtime_socket(parts.state_dir))
        Orders(self).register(control)
        await control.start()
        try:
            with self._metrics():
                await self._live()
        finally:
            await control.close()
            parts.index.close()
            parts.database.close()
            log.info("daemon.stopped", uptime_s=round(time.time() - self.started_at, 3))

    async def _live(self) -> None:
        parts = self.parts
        async with asyncio.TaskGroup() as group:
            bus = [self._start(group, parts.bus.run(), "bus")]
            bus += [self._start(group, self._publish(), "publisher")]
            reactions = self._start(group, parts.runtime.run(), "reactions")
            keeper = self._start(group, beat(parts), "beat")
            keeper_of_corpus = self._start(group, upkeep(parts), "upkeep")
            sources = [self._start(group, work, name) for name, work in self._sources().items()]
            await self._ready()
            index = self._start(group, parts.keeper_of_index.run(), "index")
            training = self._start(group, parts.trainings.run(), "training")
            await self._stop.wait()
            self.phase = "stopping"
            within_s = parts.settings.reactions.drain_s + parts.settings.training.stop_s + 10
            notify(STOPPING, status("draining"), extend_timeout(within_s))
            parts.trainings.quit()
            await _end([*sources, keeper_of_corpus])
            drained = await parts.runtime.drain(parts.settings.reactions.drain_s)
            log.info("daemon.drained", complete=drained)
            await asyncio.wait([training])
            await _end([reactions, keeper, index, *bus])
            await parts.bus.close()

    def _sources(self) -> dict[str, Coroutine[Any, Any, None]]:
        parts = self.parts
        return {
            "spool": parts.spool_source.run(),
            "feed": parts.feed.run(),
            "beads": parts.poller.run(),
            "watch": parts.watcher.run(),
            "sweep": parts.sweep.run(),
            "commits": parts.commits.run(),
            "touched": parts.follow_touched(),
            "job-beads": parts.bead_face.run(),
            "records": parts.projector.run(),
        }

    async def _publish(self) -> None:
        """Nothing is published before every reaction listens."""
        await self.parts.runtime.ensured.wait()
        await self.parts.publisher.run()

    async def _ready(self) -> None:
        """READY once the reactions listen; without a bus after a moment all the same, degraded by name."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHOUT_BUS_S):
                await self.parts.runtime.ensured.wait()
        self.phase = "running"
        notify(READY, status("listening to the town"))
        log.info(
            "daemon.ready",
            version=gtftd.__version__,
            town=str(self.parts.town_root),
            state_dir=str(self.parts.state_dir),
            after_s=round(time.time() - self.started_at, 3),
        )

    def _metrics(self) -> contextlib.AbstractContextManager[int | None]:
        settings = self.parts.settings.metrics
        if settings.port is None:
            return contextlib.nullcontext()
        return metrics_served(self.parts.metrics.registry, listen=settings.listen, port=settings.port)

    def _start(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return group.create_task(work, name=name)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@contextlib.contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """One daemon a state directory. The lock goes with the process, however it ends."""
    descriptor = os.open(state_dir / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"another gtftd runs on {state_dir}; `gtftctl status` asks it how it is") from error
        yield
    finally:
        os.close(descriptor)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gtftd", description=__doc__)
    parser.add_argument("--town", type=Path, help="the town's root (default: found as gt finds it)")
    parser.add_argument("--state-dir", type=Path, help="where the daemon keeps its state")
    parser.add_argument("--config", type=Path, help="the configuration file")
    parser.add_argument("--no-console", dest="console", action="store_false", help="log to the file alone")
    parser.add_argument("--version", action="version", version=f"gtftd {gtftd.__version__}")
    return parser.parse_args()


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {"town": arguments.town, "state_dir": arguments.state_dir}
    return {name: value.expanduser().absolute() for name, value in given.items() if value is not None}


if __name__ == "__main__":
    main()
