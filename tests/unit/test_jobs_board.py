"""The runs at one glance, and what metrics make of them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gtftd.jobs import RunFolder, runs_folder
from gtftd.jobs.board import Board, Glance
from gtftd.metrics import Metrics
from gtftd.schemas.training import RunResult, RunSpec, StepLine, TrainSettings
from gtftd.schemas.training_orders import Settled

AT = datetime(2026, 11, 22, tzinfo=UTC)


def made(state: Path, run: str, number: int = 0) -> RunFolder:
    folder = RunFolder(runs_folder(state) / run)
    folder.create(
        RunSpec(
            run=run, job=run, role="deacon", base="/b", base_name="tiny", base_digest="a" * 64,
            tokenizer_sha256="b" * 64, state_dir=str(state), snapshot="c" * 64, settings=TrainSettings(),
            created_at=AT + timedelta(minutes=number),
        )
    )  # fmt: skip
    return folder


def step(folder: RunFolder, number: int, **told: Any) -> None:
    line = StepLine(
        **{
            "step": number, "steps": 9, "loss": 2.0, "learning_rate": 1e-4, "gradient_norm": 1.0, "tokens_per_s": 50.0,
            "supervised_tokens": number * 100, "eta_s": 5.0, "at": AT,
        } | told
    )  # fmt: skip
    with (folder.path / "progress.ndjson").open("ab") as file:
        file.write(line.model_dump_json().encode() + b"\n")


def settle(folder: RunFolder, minutes: int, model: str | None = "deacon-v1") -> None:
    folder.write_result(RunResult(status="done" if model else "failed", steps=9, at=AT))
    folder.write_settled(Settled(model=model, why="" if model else "it died", at=AT + timedelta(minutes=minutes)))


def told(glance: Glance) -> tuple[list[str], str | None, list[tuple[str, list[int]]]]:
    news = [(one.run, [line.step for line in one.lines]) for one in glance.news]
    return [run.run for run in glance.runs], glance.last.run if glance.last else None, news


def test_a_look_tells_what_there_is_and_what_is_new(tmp_path: Path) -> None:
    """Also of a run that ended between two looks, and not of what was before the first one."""
    board = Board(tmp_path)
    assert ([], None, []) == told(board.look())
    second, first = made(tmp_path, "b", 2), made(tmp_path, "a", 1)
    step(second, 1)
    assert (["a", "b"], None, []) == told(board.look())
    step(first, 1)
    step(second, 2)
    with (second.path / "progress.ndjson").open("ab") as file:
        file.write(b'\xff{"step"\n[[[\n{"st')
    runs, last, news = told(board.look())
    assert (["a", "b"], None, [("a", [1]), ("b", [2])]) == (runs, last, sorted(news))
    step(first, 2)
    settle(first, 5)
    settle(second, 6)
    assert ([], "b", [("a", [2])]) == told(board.look())
    assert ([], "b", []) == told(board.look())


def test_the_last_ending_is_that_of_the_newest_that_is_there(tmp_path: Path) -> None:
    """Runs that somebody deletes are forgotten; what is no run is passed over."""
    for number, run in enumerate(("a", "b", "c")):
        settle(made(tmp_path, run), number, model=f"deacon-v{number + 1}")
    (runs_folder(tmp_path) / "stranger").mkdir()
    (runs_folder(tmp_path) / ".lock").touch()
    board = Board(tmp_path)
    assert ([], "c", []) == told(board.look())
    shutil.rmtree(runs_folder(tmp_path) / "c")
    board.look()
    assert ([], "b", []) == told(board.look())
    shutil.rmtree(runs_folder(tmp_path))
    assert ([], None, []) == told(board.look())


def test_metrics_of_runs(tmp_path: Path) -> None:
    """Steps from before the first look are not counted; steps made again are; a run that ended shows no more."""
    board, metrics = Board(tmp_path), Metrics()
    folder = made(tmp_path, "a")
    step(folder, 1)

    def look() -> None:
        glance = board.look()
        for one in glance.news:
            metrics.training.count(one.run, one.role, one.objective, one.lines)
        metrics.training.show(
            [run.model_copy(update={"stage": "running"}) for run in glance.runs]  # nobody holds its lock here
        )

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"gtftd_training_{name}", labels)

    mine = {"role": "deacon", "objective": "sft"}
    look()
    assert (1, 0, 2.0, None) == (value("runs", stage="running"), value("runs", stage="waiting"), value("loss", **mine),
                                 value("supervised_tokens_total", **mine))  # fmt: skip
    step(folder, 2, checkpoint_s=0.2, held_out_loss=1.5)
    step(folder, 3, skipped=True, supervised_tokens=200)
    look()
    step(folder, 2)  # it went back
    step(folder, 3, loss=1.0)
    look()
    assert (200.0, 1.0, 1.0, 0.2) == (
        value("supervised_tokens_total", **mine), value("skipped_steps_total", **mine),
        value("checkpoint_seconds_count", **mine), value("checkpoint_seconds_sum", **mine),
    )  # fmt: skip
    assert (1.0, 1.5, 50.0, 3.0, 9.0) == tuple(
        value(name, **mine) for name in ("loss", "held_out_loss", "tokens_per_second", "step", "steps")
    )
    settle(folder, 1)
    look()
    assert (0, None) == (value("runs", stage="running"), value("loss", **mine))
