"""Runs that an event asks for: which are started, once, and which are refused by a fact."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gtftd.corpus.snapshot import build_snapshot
from gtftd.handlers.start_requested_training import start_requested_training
from gtftd.jobs import RunFolder, read_runs, runs_folder
from gtftd.programs.training import Trainings
from gtftd.schemas.training_events import TrainingAccepted, TrainingRefused, TrainingRequested
from gtftd.settings import load_settings
from gtftd.state.database import open_reader
from gtftd.training import Requests
from tests.integration.test_jobs_training import trainings_of
from tests.support.snapshots import REJECTED, entry, fill, settings
from tests.support.training import TrainingDesk, training_desk

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingDesk:
    desk = training_desk(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("XDG_", "GTFTD_"))]:
        monkeypatch.delenv(name)
    return desk


def asked(**fields: Any) -> TrainingRequested:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    told = {"role": "polecat", "at": at, "seen_by": "emit", "by": "ann"} | fields
    return TrainingRequested.model_validate(told)


async def take(desk: TrainingDesk, trainings: Trainings | None = None, **fields: Any) -> Any:
    """As the runtime calls the reaction."""
    requests = Requests(load_settings(desk.config).training, (trainings or trainings_of(desk)).request)
    return await start_requested_training(asked(**fields), requests)


def runs(desk: TrainingDesk) -> list[str]:
    return [view.run for view in read_runs(desk.state)]


async def test_a_request_is_a_run_with_the_origin_of_each_value(desk: TrainingDesk) -> None:
    folder = desk.folder / "settings"
    folder.mkdir()
    (folder / "polecat.yaml").write_text("init_args:\n  lora: {rank: 4}\n  seed: 3\n")
    desk.config.write_text(desk.config.read_text() + f'settings_dir = "{folder}"\nthreads = 2\n')
    told = await take(desk, settings={"lora": {"alpha": 8}, "optimizer.epochs": 1, "seed": 5}, request="r-1")
    assert isinstance(told, TrainingAccepted)
    assert ([told.run], True, "ann") == (runs(desk), told.is_new, told.by)
    spec = RunFolder(runs_folder(desk.state) / told.run).spec()
    request = f"request {spec.request[:12]}"
    assert (4, 8.0, 1.0, 5, 2) == (
        spec.settings.lora.rank, spec.settings.lora.alpha, spec.settings.optimizer.epochs, spec.settings.seed,
        spec.settings.threads,
    )  # fmt: skip
    assert {
        "threads": "config", "lora.rank": f"{folder / 'polecat.yaml'}:2", "lora.alpha": request,
        "optimizer.epochs": request, "seed": request, "optimizer.learning_rate": "the default of sft",
    } == spec.origins  # fmt: skip
    assert "ann" == spec.by


async def test_the_same_request_is_the_same_run(desk: TrainingDesk) -> None:
    """Delivered again; under the same name; or by another name to the same effect."""
    first = await take(desk, request="one")
    assert first == await take(desk, request="one")
    assert first == await take(desk, request="one", settings={"seed": 9})
    assert first.run == (await take(desk, request="one", role="witness")).run
    other = await take(desk, request="two")
    assert (first.run, False) == (other.run, other.is_new)
    unnamed = await take(desk, reason="drift")
    assert (first.run, False) == (unnamed.run, unnamed.is_new)
    assert [first.run] == runs(desk)


async def test_a_run_that_came_to_a_model_is_not_made_again(desk: TrainingDesk) -> None:
    """One that failed may be asked for again."""
    desk.behave(steps=2, save_every=1, status="failed")
    trainings = trainings_of(desk)
    failed = await take(desk, trainings, request="one")
    await trainings.run(until_idle=True)
    desk.behave(steps=2, save_every=1)
    trainings = trainings_of(desk)
    second = await take(desk, trainings, request="two")
    assert (True, True) == (second.is_new, second.run != failed.run)
    await trainings.run(until_idle=True)
    third = await take(desk, request="three")
    assert (second.run, False) == (third.run, third.is_new)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"role": "nobody"}, "there is no role 'nobody'"),
        ({"role": None}, "neither for which role nor for which task"),
        ({"task": "poetry"}, "there is no task 'poetry'"),
        ({"role": "deacon"}, "there is no snapshot for deacon"),
        ({"snapshot": "ffff"}, "no snapshot begins with 'ffff'"),
        ({"base": "other"}, "there is no base 'other'"),
        ({"parent": "polecat-v7"}, "polecat-v7"),
        ({"objective": "dpo"}, "has no pairs"),
        ({"settings": {"optimizer.learning_rte": 1}}, "did you mean optimizer.learning_rate"),
        ({"settings": {"lora": {"rank": "many"}}}, "lora.rank = 'many'"),
        ({"settings": {"threads": 64}}, "threads is not a request's to set"),
        ({"settings": {"memory_bytes": 2**40}}, "memory_bytes is not a request's to set"),
        ({"settings": {"optimizer.epochs": 50}}, "50 epochs are more than the 10"),
        ({"settings": {"optimizer.steps": 10**6}}, "1000000 steps are more than the 5000"),
    ],
)
async def test_what_cannot_work_is_refused_by_a_fact(desk: TrainingDesk, fields: dict[str, Any], why: str) -> None:
    refused = await take(desk, **fields)
    assert isinstance(refused, TrainingRefused)
    assert (True, "ann", []) == (why in refused.why, refused.by, runs(desk)), refused.why


@pytest.mark.parametrize(
    "fields",
    [
        {"base": "../../etc"}, {"base": "/etc/passwd"}, {"snapshot": "../x"}, {"parent": "../polecat"}, {"role": "a/b"},
        {"request": "a b"}, {"settings": {"a.b.c": 1}}, {"settings": {"lora": {"rank": {"deep": 1}}}},
        {"settings_dir": "/"}, {"settings": {f"optimizer.{'abc'[n % 3] * (n // 3 + 1)}": 1 for n in range(60)}},
        {"by": "\x1b[2J"},
    ],
)  # fmt: skip
def test_what_an_event_must_not_say_is_no_event(fields: dict[str, Any]) -> None:
    """No paths, no depth, no bulk: such a message is parked with its bytes, and nothing else happens."""
    with pytest.raises(ValueError, match="validation error"):
        asked(**fields)


async def test_asking_is_no_way_to_the_processor(desk: TrainingDesk) -> None:
    """So many wait for a role, and so many begin in a day; or none at all, where the operator says so."""
    desk.config.write_text(desk.config.read_text() + "requests_waiting = 2\nrequests_a_day = 3\n")
    taken = [await take(desk, settings={"seed": seed}) for seed in range(3)]
    assert [TrainingAccepted, TrainingAccepted, TrainingRefused] == [type(one) for one in taken]
    assert "have not ended, and training.requests_waiting" in taken[2].why
    desk.behave(steps=1, save_every=1)
    await trainings_of(desk).run(until_idle=True)
    assert isinstance(await take(desk, settings={"seed": 5}), TrainingAccepted)
    refused = await take(desk, settings={"seed": 6})
    assert "3 runs were requested within a day" in refused.why
    desk.config.write_text(desk.config.read_text() + "on_request = false\n")
    assert "training.on_request is off" in (await take(desk)).why
    assert 3 == len(runs(desk))


async def test_the_pairs_that_a_requested_run_learns_from_are_records(desk: TrainingDesk) -> None:
    """As those of a run that an operator starts: once, by whose contents, though the run is told of often."""
    fill(desk.state, [entry(31, outcome=REJECTED), entry(32, bead="gt-31", session_id="s31")])
    easy = {"source_cap": 1, "new_source_cap": 1, "test_fraction": 0.3}
    snapshot = build_snapshot(desk.state, settings("gastown", **easy), role="polecat", rig="gastown").id
    told = await take(desk, objective="dpo", snapshot=snapshot[:12], insist=True)
    assert isinstance(told, TrainingAccepted), told
    for _ in range(2):
        await trainings_of(desk).run(until_idle=True)
    with closing(open_reader(desk.state / "state.db")) as connection:
        kept = connection.execute("SELECT snapshot, count(*) FROM preferences GROUP BY snapshot").fetchall()
    assert [(snapshot, 1)] == [tuple(row) for row in kept]
