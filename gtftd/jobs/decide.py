"""What is to be done about a run that has not been taken up: pure. What is seen goes in, one step comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gtftd.schemas.training import RunResult
from gtftd.schemas.training_orders import Will

UNSEEN_TIMES = 6
"""As patient before the first step and behind the last one. A base is loaded by libraries that tell nothing meanwhile,
from a disk that may be slow, and nothing is lost by waiting; a thread of the child that beat all the time would beat in
a child that hangs, too. Where there are points to beat at (each layer, each batch of the held-out loss, each few
examples that become tokens) the child does.
"""
MOST_OOM_KILLS = 2
"""Without a new step. Once may have been the doing of others."""
Act = Literal["nothing", "start", "ask", "kill", "discard", "fail", "end", "settle"]
"""`ask`: finish the step, save and stop. `discard`: it stopped for a while only. `end`: it was told to stop and there
is no child that could say so. `settle`: it has ended, and what came of it is taken up."""


@dataclass(frozen=True)
class Verdict:
    """What the house says of a run, whatever the operator wants: `end` is for ever."""

    will: Literal["run", "pause", "end"] = "run"
    why: str = ""


@dataclass(frozen=True)
class Seen:
    """One look at one run; times in seconds of the looker's own clock."""

    lives: bool
    result: RunResult | None = None
    will: Will = "run"
    by: str = ""
    verdict: Verdict = Verdict()
    silent_s: float = 0.0
    """Since the last sign of life."""
    is_stepping: bool = True
    """It has made steps, and more are to come: signs of life are frequent."""
    asked_s: float | None = None
    """Since it was asked to stop."""
    starts: int = 0
    """Without a new step."""
    oom_kills: int = 0
    """Among them: ended for want of memory."""
    may_start: bool = True
    """There is a slot, and the wait after its last death is over."""


@dataclass(frozen=True)
class Limits:
    """How long a run is waited for."""

    silent_s: float
    stop_s: float
    most_starts: int


@dataclass(frozen=True)
class Step:
    """One thing to do, and why."""

    act: Act
    why: str = ""
    is_silent: bool = False
    """It is asked because it gives no sign of life."""


NOTHING = Step("nothing")


def decide(seen: Seen, limits: Limits) -> Step:
    """Of a child that lives only its end can be asked for; of one that does not, everything follows from the files."""
    if seen.lives:
        return _of_living(seen, limits)
    if seen.result is not None:
        return _of_ended(seen, seen.result)
    return _of_dead(seen, limits)


def _of_living(seen: Seen, limits: Limits) -> Step:
    if seen.asked_s is not None:
        if seen.asked_s > limits.stop_s:
            return Step("kill", f"it did not stop within {limits.stop_s:g} s")
        return NOTHING
    if seen.verdict.will == "end" or seen.will == "stop":
        return Step("ask", seen.verdict.why or f"stopped by {seen.by or 'somebody'}")
    if why := _pause(seen):
        return Step("ask", why)
    patience_s = limits.silent_s * (1 if seen.is_stepping else UNSEEN_TIMES)
    if seen.silent_s > patience_s:
        return Step("ask", f"it gave no sign of life for {patience_s:g} s", is_silent=True)
    return NOTHING


def _of_ended(seen: Seen, result: RunResult) -> Step:
    if result.status != "stopped" or seen.will == "stop":
        return Step("settle")
    if seen.verdict.will == "end":
        return Step("fail", seen.verdict.why)
    if why := _pause(seen):
        return Step("nothing", why)
    return Step("discard", "it goes on")


def _of_dead(seen: Seen, limits: Limits) -> Step:
    if seen.verdict.will == "end":
        return Step("fail", seen.verdict.why)
    if seen.will == "stop":
        return Step("end", f"stopped by {seen.by or 'somebody'}")
    if why := _pause(seen):
        return Step("nothing", why)
    if seen.oom_kills >= MOST_OOM_KILLS:
        return Step(
            "fail",
            f"it needed more memory than it may take or than there was, {seen.oom_kills} times without a new step; "
            "lower data.most_tokens, take a smaller base, or give it more memory",
        )
    if seen.starts >= limits.most_starts:
        return Step("fail", f"it died {seen.starts} times without a new step")
    return Step("start") if seen.may_start else NOTHING


def _pause(seen: Seen) -> str:
    if seen.will == "pause":
        return f"paused by {seen.by or 'somebody'}"
    return seen.verdict.why or "paused" if seen.verdict.will == "pause" else ""
