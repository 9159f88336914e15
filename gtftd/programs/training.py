"""Training runs: planned, started, followed, and taken up; in the daemon, or in a process beside gtftctl."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from gtftd.errors import Conflict
from gtftd.health import Health
from gtftd.jobs import Listener, RunFolder, Supervisor, Verdict, read_run, read_runs, runs_folder, wish
from gtftd.jobs.board import Glance
from gtftd.metrics import TrainingMetrics
from gtftd.programs.training_plan import LATEST, Planner
from gtftd.programs.training_records import Records
from gtftd.programs.training_requests import Asked, check_room, run_of, same_run
from gtftd.programs.training_watch import Counted, Watch
from gtftd.registry import Registry
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunSpec
from gtftd.schemas.training_orders import RunView, TrainOrder, Will
from gtftd.training.base_adding import ensure_base


class Trainings:
    """The only one who starts runs. Orders return when what was ordered would survive a power cut."""

    def __init__(
        self,
        state_dir: Path,
        settings: TrainingSettings,
        registry: Callable[[], Registry],
        health: Health,
        *,
        is_stopped: Callable[[], bool],
        changed: Callable[[], None] = lambda: None,
        only: Collection[str] = (),
        metrics: TrainingMetrics | None = None,
    ) -> None:
        """`is_stopped`: the town's emergency stop stands. `changed`: the records were changed."""
        self._state_dir = state_dir
        self._settings = settings
        self._is_stopped = is_stopped
        self._planner = Planner(state_dir, settings, registry)
        records: Listener = Records(state_dir, registry, changed)
        listener = records if metrics is None else Counted(records, metrics)
        self._supervisor = Supervisor(state_dir, settings, listener, health, judge=self._judge, only=only)
        self._watch = Watch(state_dir, metrics)

    async def run(self, *, until_idle: bool = False) -> None:
        """Until `quit`, or until nothing is left to do. Cancelled, children live on, for the next daemon."""
        watching = asyncio.create_task(self._watch.run(), name="runs")
        try:
            await self._supervisor.run(until_idle=until_idle)
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    def quit(self) -> None:
        """Children save and stop; the next daemon lets them go on."""
        self._supervisor.quit("its supervisor stops; it goes on with the next one")

    async def start(self, order: TrainOrder) -> RunView:
        """Raises Missing, Invalid, Refused, Conflict before anything is started. The same run again is that run."""
        view = await asyncio.to_thread(self._create, order)
        self._wake()
        return view

    async def request(self, order: TrainOrder) -> Asked:
        """As `start`; a run that does the same already is that run, and too many are Refused."""
        asked = await asyncio.to_thread(self._request, order)
        self._wake()
        return asked

    async def glance(self) -> Glance:
        """The runs that have not ended, and the last that has; at once, from memory."""
        return await self._watch.glance()

    async def list(self, limit: int = 50) -> list[RunView]:
        return await asyncio.to_thread(read_runs, self._state_dir, limit)

    async def show(self, run: str) -> RunView:
        return await asyncio.to_thread(read_run, self._state_dir, run)

    async def wish(self, run: str, will: Will, by: str) -> RunView:
        """Pause, resume or stop. Refused for a run that has ended."""
        view = await asyncio.to_thread(wish, self._state_dir, run, will, by)
        self._wake()
        return view

    def _wake(self) -> None:
        self._supervisor.wake()
        self._watch.forget()

    def _create(self, order: TrainOrder) -> RunView:
        known = RunFolder(runs_folder(self._state_dir) / order.run) if order.run else None
        if known is not None and (there := known.try_spec()) is not None:
            _check_same(there, order)
            return read_run(self._state_dir, known.name)
        spec = self._planner.plan(order)
        self._supervisor.create(spec)
        return read_run(self._state_dir, spec.run)

    def _request(self, order: TrainOrder) -> Asked:
        if (answer := run_of(self._state_dir, order.request)) is not None:
            return Asked(answer, is_new=True)
        ensure_base(self._state_dir, order.base or self._settings.base)
        spec = self._planner.plan(order)
        if (known := same_run(self._state_dir, spec)) is not None:
            return Asked(known, is_new=False)
        check_room(self._state_dir, spec, self._settings, spec.created_at)
        self._supervisor.create(spec)
        return Asked(read_run(self._state_dir, spec.run), is_new=True)

    def _judge(self, spec: RunSpec) -> Verdict:
        if (self._state_dir / "snapshots" / spec.snapshot / "tainted.json").exists():
            why = f"its snapshot {spec.snapshot[:12]} is tainted; build another with `gtftctl corpus snapshot`"
            return Verdict("end", why)
        return Verdict("pause", "the town's ESTOP stands") if self._is_stopped() else Verdict()


def _check_same(spec: RunSpec, order: TrainOrder) -> None:
    """Raises Conflict for a run of that name that is another one: nobody would notice before its end."""
    same = {
        "role or task": (spec.kind, spec.role) == (order.kind, order.role),
        "base": order.base in (None, spec.base_name),
        "snapshot": order.snapshot == LATEST or spec.snapshot.startswith(order.snapshot),
        "settings": order.settings == spec.settings,
    }
    if others := [name for name, is_same in same.items() if not is_same]:
        raise Conflict(f"the run {spec.run} is there already, with other {', '.join(others)}; give another name")
