"""Everything that the flows of a day share: files, databases, clock, chance, and the queues between agents."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import folder_of
from gtftd.sampletown.feed import Feed
from gtftd.sampletown.layout import RIGS, TOWN_DATABASE, TOWN_PREFIX, SampleRig
from gtftd.sampletown.plants import KINDS, Plant, make_plant
from gtftd.sampletown.tasks import Task, TaskDeck
from gtftd.sampletown.truth import PlantTruth, Truth

if TYPE_CHECKING:
    from gtftd.sampletown.agent import AgentSession


@dataclass(frozen=True)
class Job:
    """One bead for one agent; `twist` says how its story differs from the plain one."""

    bead: str
    task: Task
    twist: str = "plain"


@dataclass(frozen=True)
class MergeRequest:
    wisp: str
    bead: str
    branch: str
    task: Task
    worker: str
    """The polecat's address."""
    is_faulty: bool = False
    """Its tests fail once it is rebased."""


@dataclass(frozen=True)
class Landed:
    """A commit on a rig's main branch, made of a merge request."""

    sha: str
    subject: str


@dataclass
class World:
    """One day. `second` is how old it is, in town seconds; flows read it, the player sets it."""

    root: Path
    claude_dir: Path
    truth: Truth
    now: Callable[[], datetime]
    seed: int
    day: int
    port: int = 3307
    second: float = 0.0
    length_s: float = 8 * 3600.0
    assigned: dict[str, list[Job]] = field(default_factory=dict)
    """Actor to the jobs slung at it."""
    busy: set[str] = field(default_factory=set)
    merge_queue: dict[str, list[MergeRequest]] = field(default_factory=dict)
    requeued: list[tuple[str, Job]] = field(default_factory=list)
    """Rig and job of beads whose polecat died, once the witness has put them back."""
    escalated: list[Job] = field(default_factory=list)
    dead: list[tuple[str, Job]] = field(default_factory=list)
    """Rig and job of beads whose polecat died, until the witness has seen it."""
    landed: dict[str, Landed] = field(default_factory=dict)
    """Bead to the commit that its work became."""
    sessions: dict[str, AgentSession] = field(default_factory=dict)
    """tmux session to the session that runs in it."""
    environs: dict[str, dict[str, str]] = field(default_factory=dict)
    """Actor to the environment of its last session, which is that of the `bd` that it runs."""
    dispatched: bool = False
    """The mayor has slung everything that the day holds."""
    feed: Feed = field(init=False)
    beads: dict[str, Beads] = field(init=False)
    decks: dict[str, TaskDeck] = field(init=False)
    _planted: int = 0

    def __post_init__(self) -> None:
        self.feed = Feed(self.root, self.now)
        folder = folder_of(self.root)
        homes = {TOWN_DATABASE: (TOWN_PREFIX, self.root)}
        homes |= {rig.name: (rig.prefix, self.root / rig.name / "mayor/rig") for rig in RIGS}
        self.beads = {
            name: Beads(
                folder, name, prefix, hooks_dir=home / ".beads/hooks", clock=self.now, environ_of=self._environ_of
            )
            for name, (prefix, home) in homes.items()
        }
        self.decks = {name: TaskDeck(name, self.chance(f"tasks/{name}")) for name in homes}
        self.merge_queue = {rig.name: [] for rig in RIGS}

    def _environ_of(self, actor: str) -> dict[str, str]:
        return self.environs.get(actor) or base_environ()

    def close(self) -> None:
        for beads in self.beads.values():
            beads.close_connection()

    def chance(self, label: str) -> random.Random:
        """Chance of its own for each flow, so that one flow's draws don't shift another's."""
        return random.Random(f"{self.seed}/{self.day}/{label}")

    def beads_of(self, bead: str) -> Beads:
        return next(beads for beads in self.beads.values() if bead.startswith(beads.prefix + "-"))

    def create(self, database: str, task: Task, actor: str, *, priority: int = 2) -> str:
        """A new bead for a task, in the truth as well."""
        bead = self.beads[database].create(
            task.title, actor=actor, description=task.about, issue_type=task.kind, owner="overseer", priority=priority
        )
        rig = database if database != TOWN_DATABASE else None
        self.truth.opened(bead, database=database, rig=rig, title=task.title, issue_type=task.kind)
        return bead

    def plant(self, session_id: str, bead: str | None, rng: random.Random) -> Plant:
        """The next kind of fake secret, written down in the truth before it is shown to anybody."""
        kind = KINDS[self._planted % len(KINDS)]
        self._planted += 1
        plant = make_plant(kind, rng)
        self.truth.secrets.append(PlantTruth(plant.kind, plant.text, session_id, bead))
        return plant

    @property
    def is_over(self) -> bool:
        """The day is long enough and nothing is left in anybody's hands."""
        idle = not (self.busy or self.requeued or self.dead or any(self.merge_queue.values()))
        return self.dispatched and idle and not any(self.assigned.values()) and self.second >= self.length_s

    def beat(self, tmux_session: str, state: str, bead: str | None) -> None:
        """Gt's heartbeat file of a session."""
        path = self.root / ".runtime/heartbeats" / f"{tmux_session}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = self.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        path.write_text(json.dumps({"timestamp": stamp, "state": state, "context": "", "bead": bead or ""}) + "\n")


def base_environ() -> dict[str, str]:
    """What every agent inherits of the machine; nothing of a Gas Town that the player may itself run in."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "SHELL", "TZ")
    return {key: os.environ[key] for key in kept if key in os.environ}


def rig_named(name: str) -> SampleRig:
    return next(rig for rig in RIGS if rig.name == name)
