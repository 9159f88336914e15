"""What is written into a run's folder on behalf of its child, of its operator, and for the next supervisor."""

from __future__ import annotations

from datetime import UTC, datetime

from gtftd.jobs.decide import Step
from gtftd.jobs.endings import Ending
from gtftd.jobs.rundir import RunFolder
from gtftd.schemas.training import RunResult
from gtftd.schemas.training_orders import Will, Wish


def make_wish(folder: RunFolder, will: Will, by: str) -> None:
    """What a supervisor does within a second, and the next one when none lives."""
    folder.write_wish(Wish(will=will, by=by, at=datetime.now(UTC)))


def note(folder: RunFolder, note: str, *, asked: bool = False) -> None:
    life = folder.life()
    folder.write_life(life.model_copy(update={"note": note, "asked": asked or life.asked}))


def note_ending(folder: RunFolder, ending: Ending, why: str) -> None:
    """Of a child without a result. Where the machine lacks something, the start does not count."""
    life = folder.life()
    starts = max(0, life.starts - ending.is_short)
    oom_kills = life.oom_kills + ending.wanted_memory
    folder.write_life(life.model_copy(update={"note": why, "starts": starts, "oom_kills": oom_kills}))


def go_on(folder: RunFolder) -> None:
    """A stop that was asked for is no death."""
    life = folder.life()
    if life.asked:
        folder.write_life(life.model_copy(update={"starts": 0, "note": ""}))
    folder.discard_result()


def end(folder: RunFolder, step: Step) -> None:
    """The ending of a run whose child cannot write it."""
    tail = folder.log_tail() if step.act == "fail" else ""
    reason = f"{step.why}; the end of its log: {tail}" if tail else step.why
    before = folder.life().note
    if step.act == "fail" and before and before not in reason:
        reason = f"{reason} ({before})"
    line = folder.last_line()
    folder.write_result(
        RunResult(
            status="failed" if step.act == "fail" else "stopped",
            reason=reason,
            steps=line.step if line else 0,
            last_loss=line.loss if line else None,
            at=datetime.now(UTC),
        )
    )
