"""Training runs in a few lines: for `status`, the live view, and a line in a pipe. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gtftd.ctl import show
from gtftd.ctl.train_watch import end_of

if TYPE_CHECKING:
    from gtftd.schemas.control import RunStatus, TrainingStatus


def status_lines(training: TrainingStatus) -> Iterator[str]:
    """Two lines a run, one more for what is wrong, and the last ending."""
    for run in training.runs:
        steps = f"  step {run.step:,} of {run.steps:,}" if run.steps else ""
        yield f"{run.run}  {run.role} {run.objective}  {run.stage}{steps}"
        if numbers := ", ".join(_numbers(run)):
            yield f"    {numbers}"
        if problem := problem_of(run):
            yield f"    ! {problem}"
    if training.more:
        yield f"and {show.count(training.more, 'run')} more that wait"
    if training.last is not None:
        yield f"last: {end_of(training.last)}"


def live_line(run: RunStatus) -> str:
    """`deacon sft 120/1,300  1 h 6 min left  loss 2.135  held-out 2.301  812 tokens/s`: what may be cut comes last."""
    steps = f" {run.step:,}/{run.steps:,}" if run.steps else ""
    parts = [f"{run.role} {run.objective}{steps}", *([] if run.stage == "running" else [run.stage])]
    parts += [f"{show.span(run.eta_s)} left"] if run.eta_s is not None else []
    parts += [f"loss {run.loss:.3f}"] if run.loss is not None else []
    parts += [f"held-out {run.held_out_loss:.3f}"] if run.held_out_loss is not None else []
    parts += [f"{run.tokens_per_s:,.0f} tokens/s"] if run.tokens_per_s and run.stage == "running" else []
    return "  ".join(parts)


def problem_of(run: RunStatus) -> str:
    """The newest thing that is wrong, or why it does not run; one line."""
    return show.clean(run.problem or run.note)


def summary(training: TrainingStatus) -> str:
    """`, training deacon 120/300`; nothing where nothing runs."""
    running = [f"{run.role} {run.step:,}/{run.steps:,}" for run in training.runs if run.stage == "running"]
    return f", training {', '.join(running)}" if running else ""


def _numbers(run: RunStatus) -> list[str]:
    parts = []
    if run.loss is not None:
        parts.append(f"loss {run.loss:.4f}")
    if run.held_out_loss is not None:
        parts.append(f"held-out {run.held_out_loss:.4f}")
    if run.tokens_per_s and run.stage == "running":
        parts.append(f"{run.tokens_per_s:,.0f} tokens/s")
    if run.eta_s is not None:
        parts.append(f"{show.span(run.eta_s)} left")
    return parts
