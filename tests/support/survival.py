"""A harmed daemon beside one that is left in peace: both listen to the same living town."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gtftd.sampletown.truth import Truth
from tests.support.town import (
    Daemon,
    FinalState,
    SampleTown,
    check_whole,
    differences,
    final_state,
    hooks_running,
    kill_process,
    read_entries,
    share_scrub_key,
)
from tests.support.unseen import unseen_rules

Victim = Literal["daemon", "nats", "hook"]
ONLY_HOOKS_KNOW = frozenset({"agent", "git_head", "run_id"})
HOOK_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Pair:
    """Each has its state directory and its own hooks in the town's settings; only the scrubber's key is shared."""

    town: SampleTown
    harmed: Daemon
    peaceful: Daemon
    rules: list[str] = field(default_factory=list)
    """Sums of what the town's CLAUDE.md was made to say, in order."""

    def add_rule(self) -> None:
        """One more in CLAUDE.md; not before the daemon that is left in peace knows of the last one."""
        known = "SELECT sha256 FROM conventions WHERE path = 'CLAUDE.md'"
        if self.rules and (self.rules[-1],) not in self.peaceful.sql(known):
            return
        file = self.town.root / "CLAUDE.md"
        with file.open("a") as rules:
            rules.write(f"One more rule, {len(self.rules) + 1}.\n")
        self.rules.append(hashlib.sha256(file.read_bytes()).hexdigest())

    def play(self, speed: float) -> None:
        """The day begins, and both have seen it begin."""
        self.town.play(speed)
        self.harmed.wait_until_warm()
        self.peaceful.wait_until_warm()


@contextlib.contextmanager
def pair(folder: Path, *, quiet_s: float = 6.0) -> Iterator[Pair]:
    """Both are ready and the town is not alive yet; in the end nothing is left of any of them."""
    town = SampleTown(folder)
    states = folder / "harmed", folder / "peaceful"
    share_scrub_key(*states)
    harmed, peaceful = (Daemon(town, state, quiet_s=quiet_s) for state in states)
    try:
        for daemon in (harmed, peaceful):
            town.install_hooks(daemon.state_dir)
            daemon.start_ready()
        yield Pair(town, harmed, peaceful)
    finally:
        town.stop()
        harmed.end()
        peaceful.end()


def strike(daemon: Daemon, victim: Victim, chance: random.Random) -> bool:
    """SIGKILL one; a daemon is started again at once, the others are its business. False when there was none."""
    match victim:
        case "daemon":
            daemon.kill()
            daemon.start()
            return True
        case "nats":
            return any(kill_process(server.pid) for server in daemon.servers())
        case "hook":
            deadline = time.monotonic() + HOOK_PATIENCE_S
            while time.monotonic() < deadline:
                if running := hooks_running(daemon.state_dir):
                    time.sleep(chance.uniform(0, 0.006))
                    return kill_process(running[0])
            return False


def strike_often(
    here: Pair, count: int, victims: Sequence[Victim], *, seed: int, apart_s: tuple[float, float]
) -> dict[Victim, int]:
    """At random instants; how many of each were really hit."""
    chance = random.Random(seed)
    hit: dict[Victim, int] = dict.fromkeys(victims, 0)
    while sum(hit.values()) < count:
        time.sleep(chance.uniform(*apart_s))
        victim = chance.choice(victims)
        hit[victim] += strike(here.harmed, victim, chance)
        if here.town.day_is_over and not hooks_running(here.harmed.state_dir):
            victims = [victim for victim in victims if victim != "hook"]
    return hit


def check_survived(here: Pair, *, hooks_were_killed: bool = False) -> None:
    """The harmed daemon has in the end what the other one has, and both have what really happened."""
    here.peaceful.wait_for_the_day()
    here.harmed.wait_for_the_day()
    for daemon in (here.harmed, here.peaceful):
        daemon.collect_documents()
    harmed, peaceful = final_state(here.harmed.state_dir), final_state(here.peaceful.state_dir)
    check_whole(harmed)
    check_whole(peaceful)
    check_truth(peaceful, here.town.truth)
    check_truth(harmed, here.town.truth)
    assert set() == peaceful.closes - harmed.closes, "closes that only the peaceful daemon knows"
    assert set() == harmed.closes - peaceful.closes, "closes that only the harmed daemon knows"
    allowed = unseen_rules(here.harmed, here.peaceful, here.rules)
    if hooks_were_killed:
        check_same_but_for_hooks(here, allowed)
        every = peaceful.entries.keys()
        assert peaceful.without(every) == harmed.without(every)
    else:
        assert [] == differences(here.harmed.state_dir, here.peaceful.state_dir, allowed=allowed)
        assert peaceful.without(allowed) == harmed.without(allowed)


def check_truth(state: FinalState, truth: Truth) -> None:
    """Every close has exactly one entry for each session that worked on it, and for nobody else."""
    closed = {(bead.bead, episode.episode) for bead, episode in truth.closed_episodes()}
    worked = {
        (bead.bead, episode.episode, work.session_id): 1
        for bead, episode in truth.closed_episodes()
        for work in episode.work
    }
    assert closed == {(bead, episode) for _, bead, episode in state.closes if bead not in truth.wisps}
    assert worked == {key: count for key, count in state.per_close.items() if key[:2] in closed}
    assert state.parked == 0


def check_same_but_for_hooks(here: Pair, allowed: Mapping[str, Collection[str]]) -> None:
    """A hook that was killed takes with it what nobody else knows; everything else is the same."""
    harmed, peaceful = read_entries(here.harmed.state_dir), read_entries(here.peaceful.state_dir)
    assert peaceful.keys() == harmed.keys()
    for id_, entry in peaceful.items():
        found = harmed[id_]
        lost = {name for name in ONLY_HOOKS_KNOW if name in entry and name not in found}
        fields = {*entry, *found}.difference(lost, allowed.get(id_, ()))
        differing = {name: (entry.get(name), found.get(name)) for name in fields if entry.get(name) != found.get(name)}
        assert {} == differing, f"{id_}, the peaceful and the harmed: {differing}"
