"""The service that plans, follows and registers runs, and the orders that reach it over the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gtftd.control.client import ControlClient
from gtftd.control.server import ControlServer
from gtftd.errors import GtftdError, Missing, Refused
from gtftd.health import Health
from gtftd.jobs import RunFolder, runs_folder
from gtftd.jobs.adopt import lock_holder
from gtftd.programs.train_orders import TrainOrders
from gtftd.programs.training import Trainings
from gtftd.schemas.training_orders import RunView, TrainOrder
from gtftd.settings import load_settings
from tests.support.jobs import until
from tests.support.registry import facts, registry_in
from tests.support.training import TrainingDesk, training_desk

pytestmark = pytest.mark.timeout(60)
KEEPER = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_jobs_training import trainings_of
from tests.support.training import TrainingDesk
asyncio.run(trainings_of(TrainingDesk(Path(sys.argv[1]))).run(until_idle=True))
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingDesk:
    desk = training_desk(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("XDG_", "GTFTD_"))]:
        monkeypatch.delenv(name)
    return desk


def trainings_of(desk: TrainingDesk) -> Trainings:
    registry = registry_in(desk.state)
    settings = load_settings(desk.config).training
    return Trainings(
        desk.state, settings, lambda: registry, Health(), is_stopped=lambda: (desk.town / "ESTOP").exists()
    )


@contextlib.asynccontextmanager
async def served(desk: TrainingDesk) -> AsyncIterator[ControlClient]:
    """As a daemon does it."""
    trainings = trainings_of(desk)
    server = ControlServer(desk.state / "run" / "control.sock")
    TrainOrders(trainings).register(server)
    await server.start()
    task = asyncio.create_task(trainings.run())
    try:
        yield ControlClient(server.path)
    finally:
        trainings.quit()
        await task
        await server.close()


async def call(client: ControlClient, verb: str, **params: object) -> RunView:
    return RunView.model_validate(await asyncio.to_thread(lambda: client.call(verb, **params)))


def run_of(desk: TrainingDesk, run: str = "one") -> RunFolder:
    return RunFolder(runs_folder(desk.state) / run)


def models(desk: TrainingDesk) -> list[str]:
    return [str(fact["model"]) for fact in facts(registry_in(desk.state)) if fact["type"] == "model.registered.v1"]


def job_states(desk: TrainingDesk) -> list[str]:
    told = facts(registry_in(desk.state))
    return [str(fact["state"]) for fact in told if fact["type"] == "training_job.changed.v1"]


async def test_a_run_by_orders_over_the_socket(desk: TrainingDesk) -> None:
    desk.behave(steps=6, save_every=3, wait_at=2)
    async with served(desk) as client:
        order = TrainOrder(role="polecat", run="one").model_dump(mode="json")
        await call(client, "train.start", **order)
        await until(lambda: (run_of(desk).path / "waits").exists())
        assert "running" == (await call(client, "train.show", run="on")).stage
        await call(client, "train.pause", run="one", by="ann")
        await until(lambda: lock_holder(run_of(desk).path) is None)
        assert ("paused", "paused by ann") == ((seen := await call(client, "train.show", run="one")).stage, seen.note)
        (run_of(desk).path / "go").touch()
        await call(client, "train.resume", run="one", by="ann")
        await until(run_of(desk).settled)
        told = await asyncio.to_thread(lambda: client.call("train.list"))
        assert [("one", "done", "polecat-v1")] == [(run["run"], run["stage"], run["model"]) for run in told["runs"]]
        again = await call(client, "train.start", **order)
        assert "polecat-v1" == again.model
        with pytest.raises(Refused, match="one has ended: done"):
            await call(client, "train.stop", run="one")
        with pytest.raises(Missing, match="no run begins with 'two'"):
            await call(client, "train.show", run="two")
    assert ["polecat-v1"] == models(desk)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"role": "deacon"}, "there is no snapshot for deacon; `gtftctl corpus snapshot --role deacon` builds one"),
        ({"snapshot": "ffff"}, "no snapshot begins with 'ffff'"),
        ({"base": "other"}, "there is no base 'other'"),
        ({"parent": "polecat-v7"}, "polecat-v7"),
        ({"settings": {"objective": "dpo"}}, "has no pairs, which dpo learns from"),
        ({"settings": {"lora": {"rank": 0}}}, "settings.lora.rank"),
        ({"run": "../../x"}, "run"),
    ],
)
async def test_what_cannot_be_trained_is_refused_before_anything_is_started(
    desk: TrainingDesk, changed: dict[str, object], reason: str
) -> None:
    registry_in(desk.state)
    async with served(desk) as client:
        with pytest.raises(GtftdError) as refused:
            await call(client, "train.start", **({"role": "polecat"} | changed))
    assert reason in str(refused.value)
    assert [] == list((desk.state / "runs").glob("*/spec.json"))


async def test_a_daemon_that_stops_lets_its_runs_save_and_the_next_goes_on(desk: TrainingDesk) -> None:
    desk.behave(steps=6, save_every=3, wait_at=2)
    async with served(desk) as client:
        await call(client, "train.start", role="polecat", run="one")
        await until(lambda: (run_of(desk).path / "waits").exists())
    assert lock_holder(run_of(desk).path) is None
    (run_of(desk).path / "go").touch()
    async with served(desk):
        await until(run_of(desk).settled)
    assert ["polecat-v1"] == models(desk)
    assert ["corpus-validating", "ready", "training", "evaluating", "done"] == job_states(desk)


@pytest.mark.parametrize(
    "point",
    [
        *(f"registry.{point}:{time}" for time in (1, 2, 3, 4) for point in ("before_commit", "committed")),
        "jobs.before_start", "jobs.started", "registry.stored", "file.synced:3", "jobs.before_settled",
    ],
)  # fmt: skip
@pytest.mark.heavy
async def test_killed_at_any_point_it_is_registered_once(desk: TrainingDesk, point: str) -> None:
    """One model, one job, each state of it told once."""
    await trainings_of(desk).start(TrainOrder(role="polecat", run="one"))
    died = subprocess.run(
        [sys.executable, "-c", KEEPER, str(desk.folder)], env=os.environ | {"GTFTD_CRASH_AT": point}, check=False
    )
    assert -signal.SIGKILL == died.returncode
    await trainings_of(desk).run(until_idle=True)
    assert ["polecat-v1"] == models(desk)
    assert ["corpus-validating", "ready", "training", "evaluating", "done"] == job_states(desk)
    settled = run_of(desk).settled()
    assert settled is not None
    assert "polecat-v1" == settled.model


async def test_a_run_that_fails_leaves_a_failed_job_that_says_why(desk: TrainingDesk) -> None:
    desk.behave(steps=6, save_every=3, always_die_at=2)
    await trainings_of(desk).start(TrainOrder(role="polecat", run="one"))
    await trainings_of(desk).run(until_idle=True)
    with registry_in(desk.state).reading() as reading:
        job = reading.job("one")
    assert ("failed", None) == (job.state, job.model)
    assert "5 times without a new step" in job.note
    assert [] == models(desk)
    assert ["degraded", "training"] == job_states(desk)[3:5]


async def test_what_came_of_a_tainted_snapshot_is_not_registered(desk: TrainingDesk) -> None:
    """Although the run had ended before anybody knew."""
    await trainings_of(desk).start(TrainOrder(role="polecat", run="one"))
    folder = run_of(desk)
    done = {"status": "done", "steps": 1, "outputs": {"adapter": "adapter"}, "at": "2026-11-22T00:00:00Z"}
    (folder.path / "result.json").write_text(json.dumps(done))
    snapshot = next((desk.state / "snapshots").glob("*/manifest.json")).parent
    (snapshot / "tainted.json").write_text(json.dumps({"at": 0.0, "reason": "a secret", "contents": []}))
    await trainings_of(desk).run(until_idle=True)
    settled = folder.settled()
    assert settled is not None
    assert (None, True) == (settled.model, "is tainted: a secret" in settled.why)


@pytest.mark.parametrize("said", ["../../keys", "/etc", ".", "nothing"])
async def test_an_adapter_from_elsewhere_is_not_registered(desk: TrainingDesk, said: str) -> None:
    """What a child says of itself is not believed."""
    await trainings_of(desk).start(TrainOrder(role="polecat", run="one"))
    done = {"status": "done", "steps": 1, "outputs": {"adapter": said}, "at": "2026-11-22T00:00:00Z"}
    (run_of(desk).path / "result.json").write_text(json.dumps(done))
    await trainings_of(desk).run(until_idle=True)
    settled = run_of(desk).settled()
    assert settled is not None
    assert (None, True) == (settled.model, settled.why.startswith("trained, and not registered: "))
