"""Killed anywhere and at any time, the daemon has in the end what an unharmed one has."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.survival import Pair, Victim, check_survived, pair, strike_often

POINTS = (
    "spool.read",
    "spool.committed",
    "feed.read",
    "feed.committed",
    "database.before_commit",
    "database.committed",
    "publisher.sent",
    "publisher.removed",
    "consumer.begun",
    "consumer.reacted",
    "consumer.committed",
    "consumer.acknowledging",
    "file.synced",
    "entry.written",
    "entry.recorded",
    "watch.settled",
    "watch.committed",
    "sweep.found",
    "sweep.committed",
)
"""Every named point that the daemon passes while it listens, the rarest last."""
PATIENCE_S = 12.0
"""After the day, of a daemon that is up: its sweep begins after five seconds, and sessions fall quiet."""
VICTIMS: tuple[Victim, ...] = ("daemon", "daemon", "nats", "hook")


def die_at(here: Pair, point: str) -> bool:
    """One life that ends at a named point; False when the day is over and the point was never passed."""
    edited = time.monotonic()
    idle_since: float | None = None
    here.harmed.start(crash_at=point)
    process = here.harmed.process
    assert process is not None
    while process.poll() is None:
        now = time.monotonic()
        if point.startswith("watch.") and now - edited > 1:
            edited = now
            here.add_rule()
        if idle_since is None and here.town.day_is_over and here.harmed.listens():
            idle_since = now
        if idle_since is not None and now - idle_since > PATIENCE_S:
            here.harmed.stop()
            return False
        time.sleep(0.05)
    assert -signal.SIGKILL == here.harmed.wait_for_end(), here.harmed.told()
    return True


@pytest.mark.timeout(900)
@pytest.mark.parametrize("points", [POINTS[1::2], pytest.param(POINTS, marks=pytest.mark.heavy)], ids=["half", "all"])
def test_death_at_every_named_point(tmp_path: Path, points: tuple[str, ...]) -> None:
    """One life for each point, all in one day of the town; by default at every second point."""
    with pair(tmp_path / "day") as here:
        here.play(800)
        here.harmed.kill()
        here.town.add_stray()
        assert [] == [point for point in points if not die_at(here, point)]
        here.harmed.start_ready()
        check_survived(here)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_death_at_named_points_later_in_life(tmp_path: Path) -> None:
    """The second and the fifth time that a point is passed; what the sweep found once it does not find again."""
    points = [f"{point}:{times}" for times in (2, 5) for point in POINTS if not point.startswith("sweep.")]
    with pair(tmp_path / "day", quiet_s=60) as here:
        here.play(150)
        here.harmed.kill()
        passed = [point for point in points if die_at(here, point)]
        assert len(passed) > len(points) // 2
        here.harmed.start_ready()
        check_survived(here)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_few_kills_at_random(tmp_path: Path) -> None:
    """Daemon, nats-server and hooks, at ten instants of a short day."""
    with pair(tmp_path / "day") as here:
        here.play(800)
        hit = strike_often(here, 10, VICTIMS, seed=11, apart_s=(0.1, 2.0))
        check_survived(here, hooks_were_killed=hit["hook"] > 0)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1])
def test_two_hundred_kills_at_random(tmp_path: Path, seed: int) -> None:
    """Over a day long enough to be killed in."""
    with pair(tmp_path / "day", quiet_s=60) as here:
        here.play(80)
        hit = strike_often(here, 200, VICTIMS, seed=seed, apart_s=(0.1, 2.2))
        assert hit["daemon"] > 50
        check_survived(here, hooks_were_killed=True)
