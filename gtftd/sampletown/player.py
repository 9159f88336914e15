"""Lives a day of the sample town: runs everybody's flow in the order of one clock."""

from __future__ import annotations

import heapq
import os
import threading
from pathlib import Path

from gtftd.errors import Invalid, Missing
from gtftd.logs import get_logger
from gtftd.sampletown.agent import Steps
from gtftd.sampletown.clock import Clock, WallClock
from gtftd.sampletown.crew import live_as_crew
from gtftd.sampletown.layout import RIGS
from gtftd.sampletown.mayor import Mayor
from gtftd.sampletown.overseer import edit_documents, prune_feed, revert_merge
from gtftd.sampletown.patrols import live_as_boot, live_as_deacon, live_as_refinery, live_as_witness
from gtftd.sampletown.polecats import live_as_polecat
from gtftd.sampletown.town import is_sample_town
from gtftd.sampletown.truth import Truth, load_truth, truth_file
from gtftd.sampletown.world import World
from gtftd.town.identity import Identity
from gtftd.town.layout import load_town

DAY_HOURS = 8.0
LATEST_S = 3 * DAY_HOURS * 3600
"""A day in which somebody is still busy then has a mistake in its script."""
log = get_logger("sampletown")


class Player:
    """Plays days in one sample town. Everything it writes persists: a second day adds to the first.

    Killed at any point, it leaves files and rows as a crashed town would; the next day starts with new sessions.
    """

    def __init__(self, town: Path, seed: int = 1, *, port: int = 3307, stop: threading.Event | None = None) -> None:
        if not is_sample_town(town):
            raise Missing(f"{town} is no sample town; make one with `gtftctl town sample {town}`")
        self.town = town.absolute()
        self.seed = seed
        self.port = port
        self.stop = stop or threading.Event()
        self.truth = load_truth(truth_file(self.town))

    def play_day(self, *, hours: float = DAY_HOURS, pace: float | None = None, clock: Clock | None = None) -> Truth:
        """Live one day and return the truth of all days so far.

        `pace` is town seconds a real second, None for no waiting at all. `hours` stretches or shrinks
        the same script. Raises Stopped, with the truth saved, when `stop` is set.
        """
        clock = clock or WallClock(pace, self.stop)
        self.truth.seed, self.truth.complete = self.seed, False
        self.truth.days += 1
        world = self._world(clock)
        self.truth.save()
        try:
            _run(world, _flows(world), clock, hours / DAY_HOURS)
            self.truth.complete = True
        finally:
            world.close()
            self.truth.save()
            log.info("day.played", day=self.truth.days, complete=self.truth.complete, beads=len(self.truth.beads))
        return self.truth

    def _world(self, clock: Clock) -> World:
        accounts = load_town(self.town).accounts
        return World(
            root=self.town,
            claude_dir=accounts[0] if accounts else self.town / ".claude-config",
            truth=self.truth,
            now=clock.now,
            seed=self.seed,
            day=self.truth.days,
            port=self.port,
        )


def publish_port(town: Path, port: int) -> None:
    """Tell the town where its database server listens, by rename."""
    config = town / ".dolt-data/config.yaml"
    aside = config.with_suffix(".tmp")
    aside.write_text(f"listener:\n  host: 127.0.0.1\n  port: {port}\n", encoding="utf-8")
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    aside.rename(config)


def _flows(world: World) -> list[Steps]:
    flows: list[Steps] = [Mayor(world).live(), live_as_deacon(world), live_as_boot(world)]
    for rig in RIGS:
        flows += [live_as_witness(world, rig.name), live_as_refinery(world, rig.name)]
        flows += [live_as_polecat(world, Identity("polecat", rig.name, name)) for name in rig.polecats]
    overseen, alone = (Identity("crew", rig.name, rig.crew[0]) for rig in RIGS)
    flows.append(live_as_crew(world, overseen, hours=(0.8, 4.5), hand_over=True))
    flows.append(live_as_crew(world, alone, hours=(1.4,), hand_over=False))
    return [*flows, edit_documents(world), prune_feed(world), revert_merge(world)]


def _run(world: World, flows: list[Steps], clock: Clock, scale: float) -> None:
    """Always the flow whose next step is due first; ties go to the one that waited longer."""
    queue = [(0.0, number, flow) for number, flow in enumerate(flows)]
    number = len(queue)
    while queue:
        due, _, flow = heapq.heappop(queue)
        clock.wait_until(due * scale)
        world.second = due
        pause = next(flow, None)
        if pause is not None:
            heapq.heappush(queue, (due + pause, number, flow))
            number += 1
        if due > LATEST_S:
            raise Invalid(f"the day's script does not end: {sorted(world.busy)} still work; mend the flow that waits")
