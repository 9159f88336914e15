"""A run's child: it ends as promised, whatever happens to it on the way."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gtftd.schemas.training import RunSpec, TrainSettings
from gtftd.training import determinism
from gtftd.training.base_tokenizer import tokenizer_sum
from gtftd.training.batches import Batch
from gtftd.training.checkpoint import Checkpoints, TrainState
from gtftd.training.loop import Diverged, Inputs, Loop
from gtftd.training.lora import attach
from gtftd.training.model import Learner, load_base
from gtftd.training.objectives import Objective, make_objective
from gtftd.training.progress import Journal, read_progress
from tests.support.disk import small_disk
from tests.support.tiny_base import tiny_base
from tests.support.training_run import (
    Nursery,
    make_examples,
    make_run,
    read_adapter,
    read_result,
    settings,
    start,
)

STEPS = 8
CRASHES = ("train.stepped", "checkpoint.written", "checkpoint.renamed")
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.mark.parametrize("objective", ["sft", *(pytest.param(one, marks=pytest.mark.heavy) for one in ("dpo", "kto"))])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path, base: Path, nursery: Nursery, objective: str) -> None:
    """SIGKILL at several steps, between the files of a checkpoint and after its rename: the adapter is that of a run
    that nobody harmed, bit for bit, and so is what is said of it. With dropout: the random states come back too.
    """
    whole = make_run(tmp_path / "whole", base, settings(objective=objective))
    assert nursery.live(whole) == [0]
    harmed = make_run(tmp_path / "harmed", base, settings(objective=objective))
    crashes = ["checkpoint.written", "train.stepped:2", "checkpoint.written:3", "checkpoint.renamed:2", "train.stepped"]
    assert nursery.live(harmed, *crashes) == [KILLED] * len(crashes) + [0]
    assert read_adapter(harmed) == read_adapter(whole)
    _assert_same_ending(harmed, whole)


@pytest.mark.heavy
@pytest.mark.parametrize("objective", ["sft", "dpo", "kto"])
def test_fifty_kills_change_nothing(tmp_path: Path, base: Path, nursery: Nursery, objective: str) -> None:
    """At random points of a longer run, of which each life makes a few steps; checkpoints are rarer than steps."""
    made = settings(objective=objective, optimizer={"steps": 60, "learning_rate": 5e-3, "batch_examples": 2})
    whole = make_run(tmp_path / "whole", base, made)
    assert nursery.live(whole) == [0]
    dice = random.Random(3)
    harmed = make_run(tmp_path / "harmed", base, made)
    crashes = [f"{dice.choice(CRASHES)}:{dice.randint(1, 3)}" for _ in range(50)]
    endings = nursery.live(harmed, *crashes)
    assert endings[-1] == 0
    assert endings.count(KILLED) >= 30
    assert read_adapter(harmed) == read_adapter(whole)
    _assert_same_ending(harmed, whole)


def test_a_stopped_run_goes_on(tmp_path: Path, base: Path, nursery: Nursery) -> None:
    """SIGTERM: the step is finished, the result says so; started again, it ends as if it had not been stopped. What
    is done stays done.
    """
    made = settings(optimizer={"steps": 150, "learning_rate": 5e-3, "batch_examples": 2}, checkpoint_s=1000.0)
    run = make_run(tmp_path / "run", base, made)
    child = start(run)
    while not list(read_progress(run)) and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=60) == 0
    stopped = read_result(run)
    assert stopped.status == "stopped"
    assert 0 < stopped.steps < 150
    assert not (run / "adapter").exists()

    assert nursery.live(run) == [0]
    whole = make_run(tmp_path / "whole", base, made)
    assert nursery.live(whole) == [0]
    assert read_adapter(run) == read_adapter(whole)
    _assert_same_ending(run, whole)
    before = (run / "result.json").read_bytes()
    assert nursery.live(run) == [0]
    assert (run / "result.json").read_bytes() == before


def test_progress_and_heartbeat_tell_of_each_step(tmp_path: Path, base: Path, nursery: Nursery) -> None:
    """One line a step, with the held-out loss where it was looked at; nothing of the examples stays."""
    run = make_run(tmp_path / "run", base, settings())
    assert nursery.live(run) == [0]
    lines = list(read_progress(run))
    assert [line.step for line in lines] == list(range(1, STEPS + 1))
    assert [line.step for line in lines if line.held_out_loss is not None] == [4, 8]
    assert lines[-1].eta_s == 0
    assert lines[-1].held_out_loss == read_result(run).held_out_after
    assert {path.name for path in run.iterdir()} == {
        "adapter", "checkpoints", "heartbeat", "loss.png", "loss.svg", "progress.ndjson", "result.json", "spec.json",
        "train.log",
    }  # fmt: skip


def test_a_run_learns(tmp_path: Path, base: Path, nursery: Nursery) -> None:
    """What it has seen often enough it can say: the loss of its own examples falls, as far as a frozen head lets it."""
    made = settings(lora={"rank": 16, "alpha": 64}, optimizer={"steps": 100, "learning_rate": 1e-2}, checkpoint_s=100.0)
    run = make_run(tmp_path / "run", base, made)
    assert nursery.live(run) == [0]
    result = read_result(run)
    assert result.last_loss is not None
    assert result.first_loss is not None
    assert result.last_loss < result.first_loss - 0.3


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("base", "holds no config.json: no base model is there"),
        ("memory", "may take 16 MiB (memory_bytes)"),
        ("spec", "is no description of a run"),
    ],
)
def test_a_run_that_cannot_begin_says_why(tmp_path: Path, base: Path, nursery: Nursery, harm: str, reason: str) -> None:
    """The ending is a result, not an exit code alone."""
    made = settings(memory_bytes=2**24) if harm == "memory" else settings()
    run = make_run(tmp_path / "run", tmp_path if harm == "base" else base, made)
    if harm == "spec":
        (run / "spec.json").write_text("{}")
    assert nursery.live(run) == [1]
    result = read_result(run)
    assert result.status == "failed"
    assert reason in result.reason


def test_a_failed_run_may_be_started_again(tmp_path: Path, base: Path, nursery: Nursery) -> None:
    """Once the reason is gone it goes on."""
    run = make_run(tmp_path / "run", tmp_path / "later", settings())
    assert nursery.live(run) == [1]
    shutil.copytree(base, tmp_path / "later")
    spec = RunSpec.model_validate_json((run / "spec.json").read_bytes())
    known = spec.model_copy(update={"tokenizer_sha256": tokenizer_sum(base)})
    (run / "spec.json").write_text(known.model_dump_json())
    assert nursery.live(run) == [0]
    assert read_result(run).status == "done"


def test_a_step_of_nan_teaches_nothing(tmp_path: Path, base: Path) -> None:
    """It is skipped and counted; the run goes on from what it knew."""
    outcome = make_loop(tmp_path, base, poisoned={3}).run()
    assert outcome.state.skipped == 1
    assert outcome.state.step == STEPS
    told = [line for line in read_progress(tmp_path) if line.skipped]
    assert [line.step for line in told] == [3]


def test_bad_steps_lead_back_and_the_run_recovers(tmp_path: Path, base: Path) -> None:
    """Three in a row: the state of the last checkpoint, and the same steps again; the adapter is that of a good run."""
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    make_loop(tmp_path / "good", base, poisoned=set()).run()
    outcome = make_loop(tmp_path / "bad", base, poisoned={4, 5, 6}).run()
    assert outcome.state.skipped == 0
    assert "went back to step 3 after step 4 (epoch 0, batch 3" in outcome.problems[0]
    expected = Checkpoints(tmp_path / "good" / "checkpoints").newest()
    actual = Checkpoints(tmp_path / "bad" / "checkpoints").newest()
    assert expected is not None
    assert actual is not None
    assert all(torch.equal(actual.adapter[name], tensor) for name, tensor in expected.adapter.items())


def test_bad_steps_after_going_back_end_the_run(tmp_path: Path, base: Path) -> None:
    """With a diagnosis: which steps, which batches, which rate; the last good checkpoint stays."""
    loop = make_loop(tmp_path, base, poisoned=set(range(4, 100)))
    with pytest.raises(Diverged, match=r"3 steps in a row, and again .* step 4 \(epoch 0, batch 3: 2 examples.*rate"):
        loop.run()
    newest = Checkpoints(tmp_path / "checkpoints").newest()
    assert newest is not None
    assert newest.state.step == 3


def test_a_run_without_one_good_step_fails(tmp_path: Path, base: Path) -> None:
    """Also when it has fewer steps than lead back: nothing was learned."""
    loop = make_loop(tmp_path, base, poisoned={1, 2}, steps=2)
    with pytest.raises(Diverged, match=r"NaN or Inf in every step: step 1 .*; step 2 .*weights are sound"):
        loop.run()


def test_bad_steps_without_a_checkpoint_say_so(tmp_path: Path, base: Path) -> None:
    """As on a disk that was full from the start."""

    def forget() -> bool:
        shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
        return False

    loop = make_loop(tmp_path, base, poisoned={1, 2, 3}, stop=forget)
    with pytest.raises(Diverged, match="in 3 steps in a row, and there is no checkpoint to go back to: step 1 "):
        loop.run()


@pytest.mark.root
def test_a_disk_without_room_for_a_folder_is_full_too(tmp_path: Path, base: Path) -> None:
    """One line tells of all the steps: it may be full for days."""
    with small_disk(tmp_path / "disk", size_mib=8, files=40) as disk:

        def fill() -> bool:
            for number in range(50 if loop.step in (3, 4, 5) else 0):
                with contextlib.suppress(OSError):
                    (disk.root / f"file-{number}").touch()
            if loop.step == 6:
                for file in disk.root.glob("file-*"):
                    file.unlink()
            return False

        loop = make_loop(disk.root, base, poisoned=set(), stop=fill)
        (problem,) = loop.run().problems
    assert problem.startswith("no checkpoint at step 6: no space left")


@pytest.mark.root
def test_a_full_disk_costs_checkpoints_and_not_the_run(tmp_path: Path, base: Path) -> None:
    """Skipped with a problem in the progress; with room again the run ends well."""
    with small_disk(tmp_path / "disk", size_mib=8) as disk:
        loop: Loop

        def watch() -> bool:
            if loop.step == 3:
                disk.fill()
            if loop.step == 6:
                disk.free()
            return False

        loop = make_loop(disk.root, base, poisoned=set(), stop=watch)
        outcome = loop.run()
        assert outcome.state.step == STEPS
        assert any("no checkpoint at step 6: no space left" in problem for problem in outcome.problems)
        newest = Checkpoints(disk.root / "checkpoints").newest()
        assert newest is not None
        assert newest.state.step == STEPS
        told = {line.step: line.problem for line in read_progress(disk.root)}
        assert "no checkpoint" in told[7]


class Poisoned:
    """An objective whose loss is NaN in some of the steps that are tried, counted from 1."""

    def __init__(self, inner: Objective, poisoned: set[int]) -> None:
        self._inner = inner
        self._poisoned = poisoned
        self._tried = 0

    def weigh(self, batch: Batch) -> float:
        return self._inner.weigh(batch)

    def pieces(self, batch: Batch) -> Iterator[Tensor]:
        self._tried += torch.is_grad_enabled()
        is_poisoned = torch.is_grad_enabled() and self._tried in self._poisoned
        for piece in self._inner.pieces(batch):
            yield piece * float("nan") if is_poisoned else piece


def make_loop(
    folder: Path, base: Path, *, poisoned: set[int], stop: Callable[[], bool] = lambda: False, steps: int = STEPS
) -> Loop:
    """In this process, without a held-out split; a checkpoint after each good step."""
    determinism.prepare(1)
    made: TrainSettings = settings()
    causal = load_base(base)
    determinism.seed(0)
    learner: Learner = attach(causal, made.lora, begin=None, kind="role")
    inputs = Inputs(
        learner=learner,
        objective=Poisoned(make_objective(made, learner), poisoned),
        train=make_examples("sft"),
        held_out=None,
        checkpoints=Checkpoints(folder / "checkpoints"),
        journal=Journal(folder),
        settings=made,
    )
    return Loop(inputs, TrainState(steps=steps, peak_rate=5e-3, threads=1), stop=stop)


def _assert_same_ending(one: Path, other: Path) -> None:
    """In all that does not depend on the clock."""
    skipped = {"at", "took_s", "peak_bytes"}
    assert read_result(one).model_dump(exclude=skipped) == read_result(other).model_dump(exclude=skipped)
