"""The one state machine of models: pure. Which status may follow which, and what each of them allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from gtftd.errors import Refused
from gtftd.schemas.registry import Status

STATUSES: tuple[Status, ...] = get_args(Status)
_ALWAYS: frozenset[Status] = frozenset({"flagged", "tainted"})
_NEXT: Mapping[Status, frozenset[Status]] = {
    "registered": frozenset({"gated", "held", "archived"}),
    "held": frozenset({"gated", "archived"}),
    "gated": frozenset({"canary", "active", "held", "archived"}),
    "canary": frozenset({"active", "held", "degraded", "archived"}),
    "active": frozenset({"degraded", "archived"}),
    "degraded": frozenset({"active", "archived"}),
    "archived": frozenset({"active", "gated"}),
    "flagged": frozenset({"held", "archived"}),
    "tainted": frozenset(),
}
SERVING: frozenset[Status] = frozenset({"canary", "active", "degraded"})
DEPLOYABLE: frozenset[Status] = frozenset({"gated", "canary", "active", "degraded", "archived"})
"""An archived one only if it passed its gate and nothing spoke against it since: see `has_passed`."""
_FOR, _AGAINST = frozenset({"gated", "active"}), frozenset({"registered", "held", "flagged", "tainted"})


def following(status: Status) -> frozenset[Status]:
    """What may come next."""
    return _NEXT[status] | (_ALWAYS - {status} if status != "tainted" else frozenset())


def has_passed(history: Iterable[Status]) -> bool:
    """Whether the gate's last word is yes. The oldest status first."""
    passed = False
    for status in history:
        passed = status in _FOR or (passed and status not in _AGAINST)
    return passed


def check(model: str, previous: Status, status: Status) -> None:
    """Raises Refused where the one may not follow the other."""
    if status in following(previous):
        return
    allowed = ", ".join(sorted(following(previous))) or "nothing"
    raise Refused(f"{model} is {previous} and cannot become {status}; after {previous} may come: {allowed}")
