"""Runs in `status`, in the live view, and in a line; drawn into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gtftd.ctl.live import summary_of
from gtftd.ctl.reading import _show_status
from gtftd.ctl.scene import Scene
from gtftd.ctl.training_lines import live_line, status_lines
from gtftd.schemas.control import RunStatus, StatusResult, TrainingStatus
from tests.support.control import ROW, Daemon
from tests.unit.test_ctl_scene import drawn

NAME = "deacon-20261122-132026-ab12"


def run(**told: Any) -> RunStatus:
    known = {
        "run": NAME, "role": "deacon", "objective": "sft", "stage": "running", "step": 120, "steps": 1300,
        "loss": 2.13451, "held_out_loss": 2.30121, "tokens_per_s": 812.4, "eta_s": 4000.0,
    }  # fmt: skip
    return RunStatus.model_validate(known | told)


NOTHING = {"step": 0, "steps": 0, "loss": None, "tokens_per_s": 0.0, "held_out_loss": None, "eta_s": None}
WAITING = run(run="polecat-r0123456789ab", role="polecat", stage="waiting", **NOTHING)
DONE = run(run="mayor-1", role="mayor", stage="done", model="mayor-v3", eta_s=None)


def status(training: TrainingStatus) -> StatusResult:
    return Daemon(Path("/state/run/control.sock")).status().model_copy(update={"training": training})


def test_status_tells_of_each_run_in_lines_that_fit() -> None:
    """How far, how well, how fast, how long, and what is wrong; why one waits; how the last one ended."""
    problem = run(problem="no room for a checkpoint: it goes on without")
    lines = list(status_lines(TrainingStatus(runs=(problem, WAITING), more=3, last=DONE)))
    assert [
        f"{NAME}  deacon sft  running  step 120 of 1,300",
        "    loss 2.1345, held-out 2.3012, 812 tokens/s, 1 h 6 min left",
        "    ! no room for a checkpoint: it goes on without",
        "polecat-r0123456789ab  polecat sft  waiting",
        "and 3 runs more that wait",
        "last: mayor-1: done; mayor-v3 is registered",
    ] == lines
    assert max(map(len, lines)) < 80
    failed = DONE.model_copy(update={"model": None, "stage": "failed", "note": "it died 5 times"})
    assert ["last: mayor-1: failed: it died 5 times"] == list(status_lines(TrainingStatus(last=failed)))
    assert [] == list(status_lines(TrainingStatus()))


def test_status_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Its part is there when there is something to tell, and only then."""
    _show_status(status(TrainingStatus(runs=(run(),))))
    assert f"\ntraining\n{NAME}  deacon sft  running" in capsys.readouterr().out
    _show_status(status(TrainingStatus()))
    assert "training" not in capsys.readouterr().out


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 60), (60, 16)])
@pytest.mark.parametrize("runs", [1, 2, 5])
def test_the_live_view_has_a_line_for_each_run_and_still_fits(width: int, height: int, runs: int) -> None:
    """What a run says of itself is one line however long it is, and none of it drives the terminal."""
    told = tuple(run(run=f"r{number}", problem="\x1b[2Jno room\n" * 40 if number else "") for number in range(runs))
    lines = drawn(Scene("/town/gt", status(TrainingStatus(runs=told)), (ROW,) * 40), width, height)
    assert (height, width) == (len(lines), max(map(len, lines)))
    assert ("╭", "╯") == (lines[0][0], lines[-1][-1])
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "deacon sft 120/1,300  1 h 6 min left  loss 2.135" in text


def test_the_line_of_a_run() -> None:
    """Within 80 columns; one that rests is not shown to make steps."""
    line = live_line(run())
    assert "deacon sft 120/1,300  1 h 6 min left  loss 2.135  held-out 2.301  812 tokens/s" == line
    assert "polecat sft  waiting" == live_line(WAITING)
    assert summary_of(status(TrainingStatus(runs=(run(), WAITING)))).endswith("9 entries, training deacon 120/1,300")
    assert "training" not in summary_of(status(TrainingStatus()))
