"""Who was given a bead, for how long, and how that ended: read off its history. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from gtftd.town.bead_life import BeadLife
from gtftd.town.bead_rows import Change
from gtftd.town.identity import normal_actor

How = Literal["closed", "requeue", "resling", "deferred", "blocked", "held"]
ErrorType = Literal[
    "session_death", "requeue", "resling", "failed", "rejected", "wontfix", "canceled", "abandoned", "blocked", "error",
    "timeout", "aborted",
]  # fmt: skip
DEATH_SLACK = timedelta(minutes=15)
"""A witness needs a while to see that a session died, and to give its work back."""
_HELD = frozenset({"hooked", "in_progress"})
_ENDS: dict[str, How] = {"open": "requeue", "deferred": "deferred", "blocked": "blocked"}
_FAILURES: tuple[tuple[ErrorType, str], ...] = (
    ("rejected", r"reject"),
    ("wontfix", r"won'?t ?fix"),
    ("canceled", r"cancel"),
    ("abandoned", r"abandon"),
    ("blocked", r"blocked"),
    ("timeout", r"time(?:d)?[ -]?out"),
    ("aborted", r"abort"),
    ("failed", r"fail"),
    ("error", r"error"),
)
"""The words that beads itself takes for a failure, where a close reason opens with one."""
_failures = [(kind, re.compile(rf"\W*{pattern}", re.IGNORECASE)) for kind, pattern in _FAILURES]


@dataclass(frozen=True)
class Sling:
    """One agent's turn at a bead. `held`: it is not over."""

    actor: str
    by: str | None
    at: datetime
    how: How = "held"
    ended_at: datetime | None = None
    began_at: datetime | None = None
    """When it took the bead up; `at` is when it was put on its hook."""
    ended_by: str | None = None
    reason: str = ""
    error_type: ErrorType | None = None

    @property
    def duration_s(self) -> int | None:
        return None if self.ended_at is None else max(0, round((self.ended_at - self.at).total_seconds()))


@dataclass(frozen=True)
class Death:
    """A session of `actor` that died."""

    actor: str
    at: datetime


def slings_of(life: BeadLife, deaths: Sequence[Death] = ()) -> tuple[Sling, ...]:
    """Every turn that anybody had at the bead, in order."""
    return tuple(_explained(sling, deaths) for sling in _turns(life.changes))


def _turns(changes: Iterable[Change]) -> Iterable[Sling]:
    now: Sling | None = None
    holder: str | None = None
    status = "open"
    for change in changes:
        holder = normal_actor(change.assignee) or holder or normal_actor(change.was_assignee)
        before, status = change.was or status, change.now or change.was or status
        if now is not None and (change.closes or (change.now in _ENDS and before in _HELD)):
            how: How = "closed" if change.closes else _ENDS[status]
            yield _ended(now, change, how)
            now = None
        elif status in _HELD and (change.now in _HELD or change.assignee):
            taker = holder or normal_actor(change.actor)
            if now is not None and taker != now.actor:
                yield _ended(now, change, "resling")
                now = None
            if taker is not None:
                now = _taken(now, change, taker)
        if change.closes or change.now == "open":
            holder = normal_actor(change.assignee)
    if now is not None:
        yield now


def _taken(now: Sling | None, change: Change, taker: str) -> Sling:
    sling = now or Sling(taker, normal_actor(change.actor), change.at)
    return replace(sling, began_at=change.at) if change.now == "in_progress" and sling.began_at is None else sling


def _ended(sling: Sling, change: Change, how: How) -> Sling:
    return replace(sling, how=how, ended_at=change.at, ended_by=normal_actor(change.actor), reason=change.reason)


def _explained(sling: Sling, deaths: Sequence[Death]) -> Sling:
    end = sling.ended_at
    if end is None:
        return sling
    died = any(death.actor == sling.actor and sling.at <= death.at <= end + DEATH_SLACK for death in deaths)
    error: ErrorType | None = None
    if sling.how == "closed":
        error = next((kind for kind, pattern in _failures if pattern.match(sling.reason)), None)
    elif died:
        error = "session_death"
    elif sling.how in {"requeue", "resling", "blocked"}:
        error = sling.how
    return replace(sling, error_type=error)
