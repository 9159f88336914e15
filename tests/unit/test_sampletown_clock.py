"""The pace of a day."""

from __future__ import annotations

import threading

from gtftd.sampletown.clock import MOST_LATE_S, WallClock


class Real:
    """A monotonic clock, and an event whose waits let it run."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.stop = Waits(self)


class Waits(threading.Event):
    def __init__(self, real: Real) -> None:
        super().__init__()
        self._real = real

    def wait(self, timeout: float | None = None) -> bool:
        self._real.now_s += timeout or 0.0
        return False


def test_a_short_delay_is_caught_up_and_a_long_one_is_not() -> None:
    """After a stall the day goes on at its speed; it never races."""
    real = Real()
    clock = WallClock(10.0, real.stop, lambda: real.now_s)
    clock.wait_until(10.0)
    assert real.now_s == 101.0
    real.now_s += 1.0 + MOST_LATE_S / 2
    clock.wait_until(20.0)
    clock.wait_until(30.0)
    assert round(real.now_s, 6) == 103.0
    real.now_s += 6.0
    clock.wait_until(40.0)
    assert real.now_s == 109.0
    clock.wait_until(50.0)
    assert round(real.now_s, 6) == round(110.0 - MOST_LATE_S, 6)
