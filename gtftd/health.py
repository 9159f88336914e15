"""What works and what does not: every part of the daemon reports here by name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gtftd.logs import get_logger

State = Literal["ok", "degraded", "off"]
log = get_logger("health")


@dataclass(frozen=True)
class Condition:
    """The state of one component since a moment (Unix seconds); `name` is empty when all is well."""

    component: str
    state: State
    name: str = ""
    detail: str = ""
    since: float = 0.0


class Health:
    """A board of conditions. Only changes are logged; reading it costs nothing."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._board: dict[str, Condition] = {}

    def ok(self, component: str, detail: str = "") -> None:
        self._set(Condition(component, "ok", "", detail, self._clock()))

    def degraded(self, component: str, name: str, detail: str) -> None:
        """`name` is the condition's constant name (`nats.unreachable`); `detail` is for a person."""
        self._set(Condition(component, "degraded", name, detail, self._clock()))

    def off(self, component: str, detail: str) -> None:
        self._set(Condition(component, "off", "", detail, self._clock()))

    def forget(self, component: str) -> None:
        self._board.pop(component, None)

    def board(self) -> list[Condition]:
        return sorted(self._board.values(), key=lambda condition: condition.component)

    @property
    def is_ok(self) -> bool:
        return all(condition.state != "degraded" for condition in self._board.values())

    def _set(self, new: Condition) -> None:
        old = self._board.get(new.component)
        if old and (old.state, old.name) == (new.state, new.name):
            self._board[new.component] = Condition(new.component, new.state, new.name, new.detail, old.since)
            return
        self._board[new.component] = new
        if new.state == "degraded":
            log.warning("component.degraded", component=new.component, condition=new.name, detail=new.detail)
        elif old is not None and old.state == "degraded":
            log.info("component.recovered", component=new.component, after_s=round(new.since - old.since, 3))
