"""The sample town's time: what a moment is, and how long a wait takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

MOST_LATE_S = 0.05


class Stopped(Exception):
    """Somebody asked the player to stop."""


class Clock(Protocol):
    """`now` is what files and rows are stamped with; `wait_until` lets the day reach a second of its own."""

    def now(self) -> datetime: ...

    def wait_until(self, second: float) -> None:
        """Return when the day is `second` town seconds old. Raises Stopped when asked to stop."""
        ...


class WallClock:
    """Stamps real time. `speed` is town seconds a real second; None waits for nothing.

    Waits aim at absolute moments, so a slow hook does not stretch the day. Who is later than `MOST_LATE_S` stays
    late: hours caught up within a second would be a day that no town lives, with its order lost in stamps of seconds.
    """

    def __init__(
        self, speed: float | None, stop: threading.Event, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._speed = speed
        self._stop = stop
        self._monotonic = monotonic
        self._begin = monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait_until(self, second: float) -> None:
        left_s = 0.0 if self._speed is None else self._begin + second / self._speed - self._monotonic()
        self._begin += max(0.0, -left_s - MOST_LATE_S)
        if self._stop.wait(max(0.0, left_s)) if left_s > 0 else self._stop.is_set():
            raise Stopped


class SteppedClock:
    """Stamps town time from `start` on and never waits: a day of eight hours in a few seconds."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._now = start

    def now(self) -> datetime:
        return self._now

    def wait_until(self, second: float) -> None:
        self._now = max(self._now, self._start + timedelta(seconds=second))
