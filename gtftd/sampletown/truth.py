"""What really happened in the sample town, for tests to hold the daemon's entries against."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from gtftd.town.identity import Identity

Label = Literal[
    "merged", "completed", "escalated", "deferred", "rejected", "reverted", "failed", "abandoned", "administrative",
    "unknown",
]  # fmt: skip
FORMAT = 1


@dataclass
class Work:
    """One session's part in one episode of a bead; `outcome` is None while nobody can know it."""

    session_id: str
    role: str
    rig: str | None
    actor: str
    outcome: Label | None = None


@dataclass
class Episode:
    """From an opening of a bead to its close. `closes` counts closed events; the last reason stands."""

    episode: int
    work: list[Work] = field(default_factory=list)
    outcome: Label | None = None
    closed_by: str | None = None
    close_reason: str | None = None
    closes: int = 0


@dataclass
class BeadTruth:
    bead: str
    database: str
    rig: str | None
    title: str
    issue_type: str
    wisp: bool = False
    episodes: list[Episode] = field(default_factory=lambda: [Episode(1)])


@dataclass
class SessionTruth:
    session_id: str
    role: str
    rig: str | None
    actor: str
    tmux_session: str
    transcript: str
    ended: Literal["no", "ended", "died", "reaped"] = "no"
    beads: list[str] = field(default_factory=list)


@dataclass
class PlantTruth:
    kind: str
    text: str
    session_id: str
    bead: str | None


@dataclass
class Truth:
    """`<town>/.sample/truth.json`. Saved at the end of a day, and on the way about once a second; a new day adds to it.

    A killed player leaves the truth of a moment before.
    """

    path: Path
    seed: int = 0
    days: int = 0
    complete: bool = False
    """False while a day is being lived, or when it was cut short."""
    beads: dict[str, BeadTruth] = field(default_factory=dict)
    sessions: dict[str, SessionTruth] = field(default_factory=dict)
    wisps: dict[str, str] = field(default_factory=dict)
    """Closed wisps that were nobody's work (rounds of a patrol), with the reason."""
    secrets: list[PlantTruth] = field(default_factory=list)
    _next_save_s: float = field(default=0.0, compare=False)

    def opened(
        self, bead: str, *, database: str, rig: str | None, title: str, issue_type: str, wisp: bool = False
    ) -> None:
        self.beads[bead] = BeadTruth(bead, database, rig, title, issue_type, wisp)
        self._save_sometimes()

    def started(self, session_id: str, identity: Identity, tmux_session: str, transcript: Path) -> None:
        self.sessions[session_id] = SessionTruth(
            session_id, identity.role, identity.rig, identity.actor, tmux_session, str(transcript)
        )

    def worked(self, bead: str, session_id: str) -> None:
        """The session works on the bead's present episode; a second call adds nothing."""
        who = self.sessions[session_id]
        episode = self.beads[bead].episodes[-1]
        if all(work.session_id != session_id for work in episode.work):
            episode.work.append(Work(session_id, who.role, who.rig, who.actor))
        if bead not in who.beads:
            who.beads.append(bead)
        self._save_sometimes()

    def settled(self, bead: str, session_id: str, outcome: Label) -> None:
        """How this session's part ended, whatever becomes of the bead later."""
        for work in self.beads[bead].episodes[-1].work:
            if work.session_id == session_id:
                work.outcome = outcome

    def closed(self, bead: str, *, by: str, reason: str, outcome: Label) -> None:
        """One close; parts that are settled already keep their outcome."""
        episode = self.beads[bead].episodes[-1]
        for work in episode.work:
            if work.outcome in (None, episode.outcome):
                work.outcome = outcome
        episode.outcome, episode.closed_by, episode.close_reason = outcome, by, reason
        episode.closes += 1
        self._save_sometimes()

    def reverted(self, bead: str) -> None:
        """The merge that closed the bead was taken back: that work came to nothing."""
        episode = self.beads[bead].episodes[-1]
        for work in episode.work:
            if work.outcome == "merged":
                work.outcome = "reverted"
        episode.outcome = "reverted"
        self._save_sometimes()

    def reopened(self, bead: str) -> None:
        episodes = self.beads[bead].episodes
        episodes.append(Episode(len(episodes) + 1))

    def closed_episodes(self) -> Iterator[tuple[BeadTruth, Episode]]:
        for bead in self.beads.values():
            for episode in bead.episodes:
                if episode.closes:
                    yield bead, episode

    def _save_sometimes(self) -> None:
        """At most once a second, and never more than a twentieth of the time, however long it grows."""
        begun = time.monotonic()
        if begun >= self._next_save_s:
            self.save()
            self._next_save_s = begun + max(1.0, 20 * (time.monotonic() - begun))

    def save(self) -> None:
        """Written aside and renamed, so that a reader never sees half of it."""
        facts = asdict(self) | {"format": FORMAT}
        del facts["path"], facts["_next_save_s"]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".tmp")
        with aside.open("w", encoding="utf-8") as target:
            json.dump(facts, target, ensure_ascii=False, indent=1)
            target.flush()
            os.fsync(target.fileno())
        aside.rename(self.path)


def truth_file(town: Path) -> Path:
    return town / ".sample" / "truth.json"


def load_truth(path: Path) -> Truth:
    """Read it back; an empty truth where there is none."""
    truth = Truth(path)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return truth
    truth.seed, truth.days, truth.complete = facts["seed"], facts["days"], facts["complete"]
    truth.wisps = facts["wisps"]
    truth.secrets = [PlantTruth(**plant) for plant in facts["secrets"]]
    truth.sessions = {key: SessionTruth(**session) for key, session in facts["sessions"].items()}
    for key, bead in facts["beads"].items():
        episodes = [
            Episode(**{**episode, "work": [Work(**work) for work in episode["work"]]}) for episode in bead["episodes"]
        ]
        truth.beads[key] = BeadTruth(**{**bead, "episodes": episodes})
    return truth
