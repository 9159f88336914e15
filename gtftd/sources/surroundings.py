"""What every source is given, and how a source bears a state that cannot be written for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gtftd.errors import Invalid, NoSpace, NotReady, Retriable
from gtftd.health import Health
from gtftd.logs import get_logger
from gtftd.metrics import Metrics
from gtftd.state.database import Database
from gtftd.state.outbox import Outbox
from gtftd.town.layout import Town, load_town

log = get_logger("sources")
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 10.0


@dataclass(frozen=True)
class Surroundings:
    """The parts of the daemon that a source leans on; `clock` gives Unix seconds."""

    root: Path
    """The town's root."""
    outbox: Outbox
    database: Database
    health: Health
    metrics: Metrics
    clock: Callable[[], float] = time.time
    load_town: Callable[[Path], Town] = field(default=load_town)


class LatestTown:
    """The town as it was when its lists could last be read: gt may be writing them just now."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._town: Town | None = None
        self._is_degraded = False

    def read(self) -> Town:
        """Raises NotReady while the lists have never been readable."""
        try:
            town = self._around.load_town(self._around.root)
        except (Invalid, OSError) as error:
            self._is_degraded = True
            self._around.health.degraded("town", "town.unreadable", str(error))
            if self._town is None:
                raise NotReady(f"the town's lists cannot be read yet: {error}") from error
            return self._town
        if self._is_degraded:
            self._is_degraded = False
            self._around.health.ok("town")
        self._town = town
        return town


class Patience:
    """A source that can't go on waits here, longer each time; it keeps its position meanwhile."""

    def __init__(self, source: str, around: Surroundings) -> None:
        self._source = source
        self._around = around
        self._failures = 0
        self._state_is_degraded = False

    async def bear(self, error: Retriable) -> None:
        """Report the named condition, and wait. Cancellation passes."""
        condition = _condition(error)
        if not isinstance(error, NotReady):
            self._state_is_degraded = True
            self._around.health.degraded("state", condition, str(error))
        self._around.metrics.source_errors.labels(source=self._source, condition=condition).inc()
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**self._failures)
        if error.after is not None:
            wait_s = max(wait_s, error.after.total_seconds())
        self._failures = min(self._failures + 1, 10)
        await asyncio.sleep(wait_s)

    def over(self) -> None:
        """It works again; costs nothing when it always did."""
        self._failures = 0
        if self._state_is_degraded:
            self._state_is_degraded = False
            self._around.health.ok("state")


def _condition(error: Retriable) -> str:
    if isinstance(error, NoSpace):
        return "disk.full"
    return "town.unreadable" if isinstance(error, NotReady) else "state.busy"
