"""The real child under the real supervisor: killed at random, stopped, on a full disk, without memory, taught NaN."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gtftd.jobs.adopt import lock_holder
from gtftd.jobs.listing import read_run
from gtftd.jobs.rundir import RunFolder, runs_folder
from gtftd.jobs.supervisor import Supervisor
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunResult, RunSpec, TrainSettings
from tests.support.disk import small_disk
from tests.support.jobs import Ear, supervisor, until
from tests.support.real_child import GROUP, own_group
from tests.support.tiny_base import tiny_base
from tests.support.training_run import ROOT, make_run, read_adapter, settings

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]
QUICK = TrainingSettings(restart_s=0.01, most_starts=100, nice=0)
POINTS = ("train.stepped", "checkpoint.written", "checkpoint.renamed", "file.synced", "train.ending")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@dataclass
class Harm:
    """What is done to each life of a run, in order; the lives that come after them are whole."""

    harms: list[str] = field(default_factory=list)
    lives: int = 0

    def __call__(self, folder: Path) -> list[str]:
        harm = self.harms.pop(0) if self.harms else "none"
        self.lives += 1
        point, asked = (harm, "none") if harm.startswith(POINTS) else ("", harm)
        child = [sys.executable, "-m", "tests.support.real_child", asked, str(folder)]
        return ["/usr/bin/env", f"GTFTD_CRASH_AT={point}", *child]


def made(state: Path, base: Path, name: str, asked: TrainSettings) -> RunFolder:
    runs_folder(state).mkdir(parents=True, exist_ok=True)
    folder = make_run(runs_folder(state) / name, base, asked, run=name, job=name)
    return RunFolder(folder)


def long(steps: int, **changed: Any) -> TrainSettings:
    optimizer = {"steps": steps, "learning_rate": 5e-3, "batch_examples": 2}
    return settings(**{"optimizer": optimizer, "evaluate_steps": 20, "checkpoint_s": 0.02} | changed)


async def whole_run(state: Path, base: Path, asked: TrainSettings) -> RunFolder:
    """What comes of it when nobody harms it."""
    folder = made(state, base, "whole", asked)
    await supervisor(state, QUICK, program=Harm()).run(until_idle=True)
    assert "done" == read_run(state, "whole").stage
    return folder


def assert_same_ending(one: RunFolder, other: RunFolder) -> None:
    assert read_adapter(one.path) == read_adapter(other.path)
    ended, expected = one.result(), other.result()
    assert isinstance(ended, RunResult)
    assert isinstance(expected, RunResult)
    clock = {"at", "took_s", "peak_bytes", "problems"}
    assert ended.model_dump(exclude=clock) == expected.model_dump(exclude=clock)


@contextlib.asynccontextmanager
async def running(one: Supervisor) -> AsyncIterator[Ear]:
    task = asyncio.create_task(one.run())
    try:
        assert isinstance(one.listener, Ear)
        yield one.listener
    finally:
        one.quit("the test is over")
        await task


def steps_of(folder: RunFolder) -> int:
    return folder.last_step()


@pytest.mark.parametrize(("objective", "kills"), [("sft", 50), ("dpo", 20), ("kto", 20)])
async def test_killed_anywhere_it_ends_with_the_same_bytes(
    tmp_path: Path, base: Path, objective: str, kills: int
) -> None:
    """At named points (after a step, between the files of a checkpoint and behind its rename, behind any file that was
    synced, before the result), and at random instants: the adapter and all that is said of it are as if nobody had.
    """
    asked = long(20 * kills, objective=objective)  # two hundred are made by a life of a second
    whole = await whole_run(tmp_path / "a", base, asked)
    dice = random.Random(objective)
    harms = [
        f"{dice.choice(POINTS[:4])}:{dice.randint(1, 6)}" if dice.random() < 0.6 else f"dies:{dice.random():.3f}"
        for _ in range(kills)
    ]
    harm = Harm([*harms, "train.ending"])
    harmed = made(tmp_path / "b", base, "harmed", asked)
    one = supervisor(tmp_path / "b", QUICK, program=harm)
    await one.run(until_idle=True)
    assert isinstance(one.listener, Ear)
    died = [told for told in one.listener.of("harmed") if told.startswith("died: ") and "SIGKILL" in told]
    assert len(died) >= kills
    assert (kills + 2, ["harmed"]) == (harm.lives, one.listener.settled)
    assert_same_ending(harmed, whole)


async def test_stopped_by_a_signal_it_goes_on_as_it_was(tmp_path: Path, base: Path) -> None:
    """SIGSTOP for a minute, where ten seconds of silence are borne."""
    asked = long(100)
    whole = await whole_run(tmp_path / "a", base, asked)
    harm, folder = Harm(), made(tmp_path / "b", base, "one", asked)
    looks: list[str] = []
    one = supervisor(
        tmp_path / "b", TrainingSettings(silent_s=10, stop_s=1, nice=0), program=harm, poll_s=0.2,
        judge=lambda spec: counted(spec, looks),
    )  # fmt: skip
    async with running(one) as ear:
        await until(lambda: steps_of(folder) > 10)
        pid = lock_holder(folder.path)
        os.kill(pid or 0, signal.SIGSTOP)
        looks.clear()
        await until(lambda: len(looks) > 300)
        assert ("running", True) == ((seen := read_run(tmp_path / "b", "one")).stage, f"kill -CONT {pid}" in seen.note)
        os.kill(pid or 0, signal.SIGCONT)
        await until(folder.settled)
        assert any("was stopped by a signal" in told for told in ear.of("one"))
    assert 1 == harm.lives
    assert_same_ending(folder, whole)


def counted(spec: RunSpec, looks: list[str]) -> Any:
    from gtftd.jobs.decide import Verdict

    looks.append(spec.run)
    return Verdict()


@pytest.mark.root
async def test_a_full_disk_costs_checkpoints_while_it_lasts(tmp_path: Path, base: Path) -> None:
    """The run goes on without them, everybody is told why, and the next one succeeds once there is room."""
    asked = long(250)
    whole = await whole_run(tmp_path / "a", base, asked)
    with small_disk(tmp_path / "disk", size_mib=16) as disk:
        folder, harm = made(disk.root, base, "one", asked), Harm()
        async with running(supervisor(disk.root, QUICK, program=harm)):
            await until(lambda: steps_of(folder) > 20)
            for _ in range(20):
                disk.fill()
                sign = folder.signs()
                while folder.signs() == sign:
                    await asyncio.sleep(0.01)
            seen = read_run(disk.root, "one")
            assert ("running", True) == (seen.stage, "it goes on without checkpoints until there is" in seen.note)
            disk.free()
            await until(folder.settled)
        assert 1 == harm.lives
        result = folder.result()
        assert result is not None
        assert any("no checkpoint at step" in problem for problem in result.problems)
        assert_same_ending(folder, whole)


@pytest.mark.root
async def test_a_disk_that_is_full_at_the_end_is_waited_for(tmp_path: Path, base: Path) -> None:
    """Neither the last checkpoint nor a result finds room: the child ends, no start is lost, and it is tried again when
    there is room; meanwhile the run says what it waits for.
    """
    asked = long(150)
    whole = await whole_run(tmp_path / "a", base, asked)
    with small_disk(tmp_path / "disk", size_mib=16) as disk:
        folder, harm = made(disk.root, base, "one", asked), Harm()
        one = supervisor(disk.root, QUICK.model_copy(update={"most_starts": 2}), program=harm)
        async with running(one) as ear:
            await until(lambda: steps_of(folder) > 20)

            def is_ended() -> bool:
                disk.fill()
                return lock_holder(folder.path) is None

            await until(is_ended)
            await until(lambda: not one.health.is_ok)
            seen = read_run(disk.root, "one")
            assert ("waiting", "no room on the disk; it goes on when there is") == (seen.stage, seen.note)
            assert (None, 1) == (folder.result(), harm.lives)
            assert [] == [told for told in ear.of("one") if told.startswith("died")]
            disk.free()
            await until(folder.settled)
        assert (2, 1) == (harm.lives, folder.life().starts)
        assert_same_ending(folder, whole)


async def test_memory_that_is_refused_ends_the_run_with_a_reason(tmp_path: Path, base: Path) -> None:
    """By RLIMIT_DATA, as the ceiling of every child: no second try, and words that help."""
    folder, harm = made(tmp_path, base, "one", long(10)), Harm(["refused"])
    await supervisor(tmp_path, QUICK, program=harm).run(until_idle=True)
    seen = read_run(tmp_path, "one")
    assert ("failed", 1) == (seen.stage, harm.lives)
    assert "it needed more memory than the " in seen.note
    assert "lower data.most_tokens" in seen.note
    assert "can't allocate memory" in (folder.path / "train.log").read_text()


@pytest.mark.root
async def test_a_kill_of_the_kernel_is_told_apart(tmp_path: Path, base: Path) -> None:
    """A control group that is overdrawn: the second time without a new step is the last, and nobody else is harmed."""
    group = own_group()
    if group is None or not os.access(group, os.W_OK):
        pytest.skip("no control group of ours can limit memory")
    made(tmp_path, base, "one", long(10))
    harm = Harm(["overdrawn"] * 5)
    one = supervisor(tmp_path, QUICK, program=harm)
    try:
        await one.run(until_idle=True)
    finally:
        with contextlib.suppress(FileNotFoundError):
            (group / GROUP).rmdir()
    seen = read_run(tmp_path, "one")
    assert ("failed", 2) == (seen.stage, harm.lives)
    assert isinstance(one.listener, Ear)
    died = [told for told in one.listener.of("one") if told.startswith("died")]
    assert ["died: its process died at step 0: killed by the kernel, which had no memory left for it"] * 2 == died
    assert "it needed more memory than it may take or than there was, 2 times without a new step" in seen.note


@pytest.fixture
def broken_base(tmp_path: Path, base: Path) -> Iterator[Path]:
    """A weight of it is infinite."""
    folder = tmp_path / "broken"
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = torch.inf
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    yield folder


async def test_a_base_of_infinity_is_named(tmp_path: Path, broken_base: Path) -> None:
    """Three steps are skipped, and again from the last checkpoint; then the diagnosis, and no other try."""
    folder, harm = made(tmp_path, broken_base, "one", long(10)), Harm()
    await supervisor(tmp_path, QUICK, program=harm).run(until_idle=True)
    seen = read_run(tmp_path, "one")
    assert ("failed", 1) == (seen.stage, harm.lives)
    assert "NaN or Inf in 3 steps in a row, and again after going back to the last checkpoint" in seen.note
    assert "The base itself holds NaN or Inf in model.layers.1.mlp.up_proj" in seen.note
    assert None is folder.last_line() or folder.last_step() == 3


async def test_numbers_that_overflow_are_named_with_the_rate(tmp_path: Path, base: Path) -> None:
    optimizer = {"steps": 60, "learning_rate": 1.0, "batch_examples": 2, "clip_norm": 1e30, "warmup_share": 0.0}
    made(tmp_path, base, "one", long(10, optimizer=optimizer, lora={"rank": 4, "alpha": 1e30}))
    harm = Harm()
    await supervisor(tmp_path, QUICK, program=harm).run(until_idle=True)
    seen = read_run(tmp_path, "one")
    assert ("failed", 1) == (seen.stage, harm.lives)
    assert "lower optimizer.learning_rate, 1 at its peak" in seen.note


async def test_a_run_that_learned_nothing_says_so(tmp_path: Path, base: Path) -> None:
    optimizer = {"steps": 5, "learning_rate": 1e-30, "batch_examples": 2}
    folder = made(tmp_path, base, "one", long(5, optimizer=optimizer))
    await supervisor(tmp_path, QUICK, program=Harm()).run(until_idle=True)
    result = folder.result()
    assert result is not None
    (problem,) = result.problems
    assert "the held-out loss did not fall" in problem
    assert "optimizer.learning_rate, 1e-30 at its peak" in problem
