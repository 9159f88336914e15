"""The one state machine of training jobs: pure. Which state may follow which, and which of them end it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from gtftd.errors import Refused
from gtftd.schemas.registry import JobState

STATES: tuple[JobState, ...] = get_args(JobState)
FIRST: JobState = "corpus-validating"
ENDED: frozenset[JobState] = frozenset({"done", "failed"})
RUNNING: frozenset[JobState] = frozenset({"training", "syncing", "checkpointing"})
"""A run goes round in these, often many times an hour."""
_NEXT: Mapping[JobState, frozenset[JobState]] = {
    "corpus-validating": frozenset({"ready"}),
    "ready": frozenset({"training"}),
    "training": frozenset({"syncing", "checkpointing", "evaluating", "degraded"}),
    "syncing": frozenset({"training", "checkpointing", "evaluating", "degraded"}),
    "checkpointing": frozenset({"training", "syncing", "evaluating", "degraded"}),
    "evaluating": frozenset({"done", "degraded"}),
    "degraded": frozenset({"training", "evaluating"}),
    "done": frozenset(),
    "failed": frozenset(),
}


def following(state: JobState) -> frozenset[JobState]:
    """What may come next. Whatever has not ended may fail."""
    return _NEXT[state] if state in ENDED else _NEXT[state] | {"failed"}


def check(job: str, previous: JobState, state: JobState) -> None:
    """Raises Refused where the one may not follow the other."""
    if state in following(previous):
        return
    allowed = ", ".join(sorted(following(previous))) or "nothing: it has ended"
    raise Refused(f"training job {job} is {previous} and cannot become {state}; after {previous} may come: {allowed}")
