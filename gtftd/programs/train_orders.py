"""What gtftctl may order of training runs: train.start, list, show, pause, resume, stop."""

from __future__ import annotations

from gtftd.control.server import ControlServer
from gtftd.programs.training import Trainings
from gtftd.schemas.training_orders import RunParams, RunsParams, RunsResult, RunView, TrainOrder

_PLAN_S = 120.0
"""A parent model may have to be looked at."""


class TrainOrders:
    """The verbs over the daemon's service."""

    def __init__(self, trainings: Trainings) -> None:
        self._trainings = trainings

    def register(self, server: ControlServer) -> None:
        server.verb("train.start", TrainOrder, self.start, timeout_s=_PLAN_S)
        server.verb("train.list", RunsParams, self.list)
        server.verb("train.show", RunParams, self.show)
        server.verb("train.pause", RunParams, self.pause)
        server.verb("train.resume", RunParams, self.resume)
        server.verb("train.stop", RunParams, self.stop)

    async def start(self, order: TrainOrder) -> RunView:
        return await self._trainings.start(order)

    async def list(self, params: RunsParams) -> RunsResult:
        return RunsResult(runs=tuple(await self._trainings.list(params.limit)))

    async def show(self, params: RunParams) -> RunView:
        return await self._trainings.show(params.run)

    async def pause(self, params: RunParams) -> RunView:
        return await self._trainings.wish(params.run, "pause", params.by)

    async def resume(self, params: RunParams) -> RunView:
        return await self._trainings.wish(params.run, "run", params.by)

    async def stop(self, params: RunParams) -> RunView:
        return await self._trainings.wish(params.run, "stop", params.by)
