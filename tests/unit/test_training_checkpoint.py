"""Checkpoints and progress: whole or not there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from gtftd.errors import NoSpace, Refused
from gtftd.schemas.training import StepLine, TrainSettings
from gtftd.training import determinism, memory
from gtftd.training.checkpoint import Checkpoint, Checkpoints, TrainState
from gtftd.training.progress import Journal, read_progress
from tests.support.disk import small_disk
from tests.support.tiny_base import tiny_base

ROOT = Path(__file__).parents[2]


def make_checkpoint(step: int, *, size: int = 4) -> Checkpoint:
    state = TrainState(step=step, steps=9, peak_rate=1e-4, threads=1, random_states=determinism.random_states())
    return Checkpoint(state, {"a": torch.arange(size) * 0.5}, {"exp_avg/a": torch.full((size,), float(step))})


def make_line(step: int) -> StepLine:
    return StepLine(
        step=step, steps=9, loss=1.5, learning_rate=1e-4, gradient_norm=1.0, supervised_tokens=10, tokens_per_s=5.0,
        eta_s=1.0, at=datetime.now(UTC),
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """State and tensors, bit for bit, by another process' eyes."""
    Checkpoints(tmp_path / "c").write(make_checkpoint(3))
    found = Checkpoints(tmp_path / "c").newest()
    assert found is not None
    assert found.state == make_checkpoint(3).state
    assert torch.equal(found.adapter["a"], torch.arange(4) * 0.5)
    assert torch.equal(found.optimizer["exp_avg/a"], torch.full((4,), 3.0))


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    """By number, not by name: step 1000000 follows step 999999."""
    checkpoints = Checkpoints(tmp_path / "c")
    for step in (5, 999_999, 1_000_000):
        checkpoints.write(make_checkpoint(step))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step_1000000", "step_999999"]
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.state.step == 1_000_000


@pytest.mark.parametrize("file", ["manifest.json", "state.json", "adapter.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_a_harmed_checkpoint_is_removed_at_start(tmp_path: Path, file: str, harm: str) -> None:
    """Then the one before it counts."""
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.write(make_checkpoint(1))
    harmed = checkpoints.write(make_checkpoint(2)) / file
    content = harmed.read_bytes()
    if harm == "gone":
        harmed.unlink()
    else:
        harmed.write_bytes(content[: len(content) // 2] if harm == "cut" else content[:-2] + b"\x00\x00")
    found = Checkpoints(tmp_path / "c").newest()
    assert found is not None
    assert found.state.step == 1
    assert not harmed.parent.exists()


def test_a_checkpoint_that_was_harmed_meanwhile_leaves_its_place(tmp_path: Path) -> None:
    """A run that goes back past it writes that step again. What is no checkpoint of ours is left alone."""
    checkpoints = Checkpoints(tmp_path / "c")
    (tmp_path / "c" / "step_000003.bak").mkdir()
    for step in (2, 3):
        checkpoints.write(make_checkpoint(step))
    (tmp_path / "c" / "step_000003" / "state.json").write_text("{}")
    for expected in (2, 3):
        newest = checkpoints.newest()
        assert newest is not None
        assert expected == newest.state.step
        checkpoints.write(make_checkpoint(3))


def test_what_a_kill_left_aside_is_removed(tmp_path: Path) -> None:
    """A folder that was not renamed is none."""
    aside = tmp_path / "c" / ".step_000004.tmp"
    aside.mkdir(parents=True)
    (aside / "adapter.safetensors").write_bytes(b"half")
    assert Checkpoints(tmp_path / "c").newest() is None
    assert not aside.exists()


@pytest.mark.root
def test_a_full_disk_leaves_nothing_of_a_checkpoint(tmp_path: Path) -> None:
    """NoSpace, the one before is whole, and with room it goes on."""
    with small_disk(tmp_path / "disk", size_mib=4) as disk:
        checkpoints = Checkpoints(disk.root / "c")
        checkpoints.write(make_checkpoint(1))
        disk.fill()
        with pytest.raises(NoSpace):
            checkpoints.write(make_checkpoint(2, size=100_000))
        assert [path.name for path in (disk.root / "c").iterdir()] == ["step_000001"]
        disk.free()
        checkpoints.write(make_checkpoint(2, size=100_000))
        newest = Checkpoints(disk.root / "c").newest()
        assert newest is not None
        assert newest.state.step == 2


def test_a_torn_line_is_cut(tmp_path: Path) -> None:
    """What follows it is read."""
    Journal(tmp_path).tell(make_line(1))
    with (tmp_path / "progress.ndjson").open("ab") as file:
        file.write(b'{"step": 2, "st')
    Journal(tmp_path).tell(make_line(3))
    assert [line.step for line in read_progress(tmp_path)] == [1, 3]


@pytest.mark.root
def test_a_full_disk_tears_no_line(tmp_path: Path) -> None:
    """It is not told, and said so; the heart still beats."""
    with small_disk(tmp_path / "disk", size_mib=1) as disk:
        journal = Journal(disk.root)
        journal.beat()
        told = 0
        disk.fill()
        while journal.tell(make_line(told + 1)):
            told += 1
        journal.beat()
        assert [line.step for line in read_progress(disk.root)] == list(range(1, told + 1))
        assert (disk.root / "progress.ndjson").read_bytes()[-1:] in {b"\n", b""}


def test_random_states_come_back() -> None:
    """The next numbers are the same."""
    states = determinism.random_states()
    expected = torch.rand(5)
    determinism.restore_random_states(states)
    assert torch.equal(torch.rand(5), expected)


def test_nothing_is_pickled() -> None:
    """A checkpoint of somebody else must not be able to run code here: safetensors and JSON only."""
    forbidden = re.compile(r"torch\.(save|load)\(|^\s*(import|from) (pickle|joblib)|pickle\.loads?\(", re.M)
    found = [path.name for path in (ROOT / "gtftd").rglob("*.py") if forbidden.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_a_run_without_room_is_refused_with_the_numbers(tmp_path: Path) -> None:
    """Before anything is loaded."""
    shape = memory.read_shape(tiny_base(tmp_path / "base"))
    needed = memory.estimate(shape, TrainSettings())
    with pytest.raises(Refused, match=r"the run would take \d+ MiB .* and may take 256 MiB \(memory_bytes\)"):
        memory.check_room(needed, TrainSettings(memory_bytes=256 * 2**20), 2**40)
    with pytest.raises(Refused, match="80% of what is free"):
        memory.check_room(needed, TrainSettings(), 2**20)
    memory.check_room(needed, TrainSettings(), 2**34)


def test_the_estimate_grows_with_what_it_is_made_of(tmp_path: Path) -> None:
    """Longer rows, a higher rank, a pair of completions."""
    shape = memory.read_shape(tiny_base(tmp_path / "base"))
    least = memory.estimate(shape, TrainSettings())
    longer = memory.estimate(shape, TrainSettings.model_validate({"data": {"most_tokens": 4096}}))
    higher = memory.estimate(shape, TrainSettings.model_validate({"lora": {"rank": 64}}))
    pairs = memory.estimate(shape, TrainSettings(objective="dpo"))
    assert longer.activations == pytest.approx(4 * least.activations, abs=16)
    assert higher.adapter == 4 * least.adapter
    assert pairs.activations == pytest.approx(2 * least.activations, abs=16)
    short = memory.estimate(shape, TrainSettings(objective="dpo"), row_tokens=512)
    assert short.activations == pytest.approx(least.activations / 2, abs=16)
    assert memory.estimate(shape, TrainSettings(), row_tokens=9999) == least
    assert memory.estimate(shape, TrainSettings(), weight_bytes=2).weights == least.weights // 2
    assert shape.layers == 2
