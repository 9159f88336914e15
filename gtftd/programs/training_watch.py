"""How the runs are, for whoever asks and for the metrics: looked at every moment, and handed out from memory."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from gtftd.jobs import Listener
from gtftd.jobs.board import Board, Glance
from gtftd.logs import get_logger
from gtftd.metrics import TrainingMetrics
from gtftd.schemas.training import RunResult, RunSpec, StepLine
from gtftd.schemas.training_orders import Settled

log = get_logger("training")
EVERY_S = 2.0


class Watch:
    """Never older than a few seconds, while it runs."""

    def __init__(self, state_dir: Path, metrics: TrainingMetrics | None) -> None:
        self._board = Board(state_dir)
        self._metrics = metrics
        self._glance = Glance()
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._looked_at = 0.0
            await self.glance()
            await asyncio.sleep(EVERY_S)

    def forget(self) -> None:
        """Something was changed: the next who asks is told how it is then."""
        self._looked_at = 0.0

    async def glance(self) -> Glance:
        async with self._looking:
            if time.monotonic() - self._looked_at > 2 * EVERY_S:
                await self._look()
            return self._glance

    async def _look(self) -> None:
        """What cannot be read is as it was; the supervisor tells of it."""
        try:
            self._glance = await asyncio.to_thread(self._board.look)
        except OSError as error:
            log.debug("runs.unreadable", error=str(error))
        self._looked_at = time.monotonic()
        if self._metrics is not None:
            for one in self._glance.news:
                self._metrics.count(one.run, one.role, one.objective, one.lines)
            self._metrics.show(self._glance.runs)


class Counted:
    """A listener that counts what it passes on."""

    def __init__(self, listener: Listener, metrics: TrainingMetrics) -> None:
        self._listener = listener
        self._metrics = metrics

    async def waits(self, spec: RunSpec) -> None:
        await self._listener.waits(spec)

    async def began(self, spec: RunSpec) -> None:
        self._metrics.starts.labels(role=spec.role, objective=spec.settings.objective).inc()
        await self._listener.began(spec)

    async def saved(self, spec: RunSpec, line: StepLine) -> None:
        await self._listener.saved(spec, line)

    async def halted(self, spec: RunSpec, why: str, *, died: bool) -> None:
        if died:
            self._metrics.deaths.labels(role=spec.role, objective=spec.settings.objective).inc()
        await self._listener.halted(spec, why, died=died)

    async def ended(self, spec: RunSpec, result: RunResult, folder: Path) -> Settled:
        settled = await self._listener.ended(spec, result, folder)
        self._metrics.ended.labels(role=spec.role, objective=spec.settings.objective, result=result.status).inc()
        return settled
