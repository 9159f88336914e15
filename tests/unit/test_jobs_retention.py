"""What ended runs leave on the disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from gtftd.jobs.retention import free_ended_runs
from gtftd.jobs.rundir import RunFolder
from gtftd.schemas.training_orders import Settled
from tests.support.jobs import AT, made

RECORDS = {"spec.json", "behave.json", "loss.svg"}


def lived(state: Path, run: str, *, ended_after_s: float | None) -> RunFolder:
    folder = made(state, run)
    for name in ("checkpoints/step_000010", "cache", "adapter", "export/gguf-q8_0"):
        (folder.path / name).mkdir(parents=True)
        (folder.path / name / "file").write_bytes(b"weights")
    (folder.path / "loss.svg").write_text("<svg/>")
    if ended_after_s is not None:
        folder.write_settled(Settled(why="", at=AT + timedelta(seconds=ended_after_s)))
    return folder


def names(folder: RunFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()} - RECORDS


def test_ended_runs_keep_their_records_and_the_newest_what_came_of_them(tmp_path: Path) -> None:
    """A run that has not ended keeps everything, and goes on."""
    runs = [lived(tmp_path, f"run-{number}", ended_after_s=number) for number in range(3)]
    open_one = lived(tmp_path, "open", ended_after_s=None)
    free_ended_runs(tmp_path, keep=2)
    assert [{"registered.json"}, *[{"registered.json", "adapter", "export"}] * 2] == [names(run) for run in runs]
    assert {"checkpoints", "cache", "adapter", "export"} == names(open_one)
    assert all((run.path / "loss.svg").exists() for run in runs)
    free_ended_runs(tmp_path, keep=0)
    assert [{"registered.json"}] * 3 == [names(run) for run in runs]


def test_what_a_kill_left_half_gone_is_finished(tmp_path: Path) -> None:
    """And a link that stands in a run's place leads nowhere out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    folder = lived(tmp_path, "one", ended_after_s=0)
    (folder.path / "export").rename(folder.path / ".going-export")
    (folder.path / "export").symlink_to(outside)
    free_ended_runs(tmp_path, keep=0)
    assert (outside / "precious").exists()
    assert {"registered.json", "export"} == names(folder)
