"""What is stored follows from the evidence alone: not from its order, nor from how often it was told."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gtftd.schemas.event import Event
from gtftd.schemas.town import (
    AgentNudged,
    BeadAssigned,
    BeadClosed,
    BeadReleased,
    BeadReopened,
    BeadUpdated,
    CommitsLanded,
    ConfigChanged,
    EscalationSent,
    EstopRaised,
    ExitReported,
    LandedCommit,
    MergeDecided,
    RevertedCommit,
    SessionEnded,
    SessionsDied,
    SessionStarted,
)
from tests.support.corpus import bench
from tests.support.sources import make_town
from tests.support.transcripts import START, TranscriptBuilder

ACTORS = ("harbor/polecats/nux", "harbor/polecats/slit", "harbor/crew/max", "mayor")
BEADS = ("hb-a1", "hb-b2", "hq-c3", "hb-wisp-d4")
LATER = START.timestamp() + 30 * 86_400


@dataclass
class Story:
    """A town's life, told as evidence and as transcripts at once; the clock only goes forward."""

    town: Path
    chance: random.Random
    events: list[Event] = field(default_factory=list)
    episodes: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    rules: dict[str, str | None] = field(default_factory=lambda: {"CLAUDE.md": None, "harbor/CLAUDE.md": "0"})
    count: int = 0

    def __post_init__(self) -> None:
        self.now = START

    def live(self) -> None:
        for _ in range(self.chance.randint(1, 5)):
            self.now += timedelta(seconds=self.chance.randint(5, 400))
            if self.chance.random() < 0.4:
                self.rewrites(self.chance.choice(sorted(self.rules)))
            self.session(self.chance.choice(ACTORS))

    def rewrites(self, path: str) -> None:
        """Instructions change, also back to what they were, and go."""
        before = self.rules[path]
        now = self.chance.choice([text for text in ("1", "2", "3", None) if text != before])
        rig = "harbor" if "/" in path else None
        told = {"kind": "claude_md", "path": path, "rig": rig, "sha256": now, "previous_sha256": before}
        self.events.append(ConfigChanged(at=self.now, seen_by="watch", **told))
        self.rules[path] = now

    def session(self, actor: str) -> None:
        self.count += 1
        session = f"00000000-0000-4000-8000-{self.count:012d}"
        cwd = self.town / {"mayor": "mayor"}.get(actor, actor)
        builder = TranscriptBuilder(session, cwd=str(cwd), start=self.now, step=timedelta(seconds=3))
        builder.user("Run what is on your hook.")
        jobs = self.chance.randint(0, 3)
        beads = [self.chance.choice(BEADS) for _ in range(jobs)]
        self.starts(session, actor, str(cwd), beads)
        for bead in beads:
            self.job(builder, actor, bead)
        path = builder.write(self.town / "claude")
        self.now = max(self.now, builder.now)
        self.ends(session, actor, path)

    def starts(self, session: str, actor: str, cwd: str, beads: list[str]) -> None:
        """Told by the hook, by the feed, by the sweep, by several or by none of them."""
        common: dict[str, Any] = {"session_id": session, "cwd": cwd}
        tmux = f"tmux-{actor.replace('/', '-')}"
        work = beads[0] if beads and self.chance.random() < 0.5 else None
        hook = SessionStarted(
            at=self.now, seen_by="hook", role=actor.split("/")[1].rstrip("s") if "/" in actor else actor,
            rig="harbor" if "/" in actor else None, actor=actor, agent="claude", run_id="run-1", tmux_session=tmux,
            work_bead=work, git_head="a" * 40, **common,
        )  # fmt: skip
        feed = SessionStarted(at=self.now.replace(microsecond=0), seen_by="feed", actor=actor, **common)
        sweep = SessionStarted(at=self.now, seen_by="sweep", **common)
        self.events += self.chance.sample([hook, feed, sweep], self.chance.choice((1, 1, 2, 3)))
        if self.chance.random() < 0.8 and hook not in self.events:
            self.events.append(hook)

    def job(self, builder: TranscriptBuilder, actor: str, bead: str) -> None:
        builder.now += timedelta(seconds=self.chance.randint(1, 90))
        if self.chance.random() < 0.8:
            for source in self.chance.sample(("feed", "poll"), self.chance.randint(1, 2)):
                at = builder.now.replace(microsecond=0)
                self.events.append(BeadAssigned(at=at, seen_by=source, bead=bead, actor=actor))
        builder.bash(f"bd show {bead}", "a task")
        builder.say("I look into it.")
        builder.bash("make test", "ok")
        self.happens(actor, bead, builder.now)
        end = self.chance.choice(("close", "close", "done", "done", "requeue", "handoff", "nothing", "admin"))
        if end == "close":
            builder.bash(f"bd close {bead} --reason 'Fixed: it 0123abcd'")
            self.close(bead, builder.now, actor, actor, "Fixed: it 0123abcd")
        elif end == "done":
            builder.bash("gt done")
            self.events.append(BeadReleased(at=builder.now, seen_by="feed", bead=bead, actor=actor, how="done"))
            later = builder.now + timedelta(seconds=self.chance.randint(1, 600))
            self.close(bead, later, actor, "harbor/refinery", "Merged in hb-wisp-x")
            self.hands_in(actor, bead, builder.now)
        elif end == "requeue":
            self.events.append(BeadReleased(at=builder.now, seen_by="poll", bead=bead, actor=actor, how="requeue"))
        elif end == "handoff":
            builder.bash("gt handoff -s 'half way'")
        elif end == "admin":
            self.close(bead, builder.now, None, "mayor", "Stale: no longer relevant")

    def happens(self, actor: str, bead: str, at: datetime) -> None:
        """What befalls an agent at work, now and then."""
        told: list[Event] = [
            EscalationSent(at=at, seen_by="feed", actor=actor, bead=self.chance.choice((bead, None))),
            AgentNudged(at=at, seen_by="feed", actor=actor, by="mayor"),
            EstopRaised(at=at, seen_by="watch", rig=self.chance.choice(("harbor", None))),
            SessionsDied(at=at, seen_by="feed", tmux_sessions=(f"tmux-{actor.replace('/', '-')}", "hq-deacon")),
        ]
        self.events += [event for event in told if self.chance.random() < 0.15]

    def hands_in(self, actor: str, bead: str, at: datetime) -> None:
        """A merge request, decided once or twice; its commit on main, taken back, and brought back again."""
        exit_type = self.chance.choice(("COMPLETED", "COMPLETED", "ESCALATED", "DEFERRED"))
        common: dict[str, Any] = {"bead": bead, "actor": actor}
        self.events.append(ExitReported(at=at, seen_by="poll", exit_type=exit_type, **common))
        shas = [f"{self.chance.getrandbits(160):040x}" for _ in range(3)]
        times = [at + timedelta(minutes=minutes) for minutes in (5, 20, 40, 50)]
        for number, moment in enumerate(self.chance.sample(times, self.chance.randint(0, 2))):
            reason = self.chance.choice(("merged", "rejected: its tests fail", "Stale: gone"))
            request = {"request": f"hb-wisp-{number}", "merge_commit": self.chance.choice((shas[0], None))}
            event = MergeDecided(
                at=moment, seen_by="poll", database="harbor", reason=reason, submitted_at=at, **common, **request
            )
            self.events.append(event)
        landed = LandedCommit(sha=shas[0], authored_at=at, landed_at=times[0], **common)
        reverts = [
            RevertedCommit(by=shas[1], at=times[1], sha=shas[0]),
            RevertedCommit(by=shas[2], at=times[2], sha=shas[1]),
            RevertedCommit(by=shas[2], at=times[2], bead=bead),
        ]
        some = self.chance.sample(reverts, self.chance.randint(0, 2))
        told = [((landed,), ()), *(((), (revert,)) for revert in some)]
        for commits, taken in told[self.chance.randint(0, 1) :]:
            self.events.append(
                CommitsLanded(at=times[3], seen_by="poll", repository="harbor", commits=commits, reverts=taken)
            )

    def close(self, bead: str, at: Any, assignee: str | None, by: str | None, reason: str) -> None:
        """Told by the poll, by the sweep, or both; perhaps closed again, perhaps reopened after."""
        episode = self.episodes.setdefault(bead, 1)
        common: dict[str, Any] = {"at": at, "database": "harbor", "bead": bead, "assignee": assignee}
        common |= {"episode": episode, "status": "closed", "reason": reason}
        told = [
            BeadClosed(seen_by="poll", closed_by=by, title="A task", **common),
            BeadClosed(seen_by="sweep", **common),
        ]
        self.events += self.chance.sample(told, self.chance.randint(1, 2))
        after = at + timedelta(seconds=self.chance.randint(0, 5))
        again = {"database": "harbor", "bead": bead, "episode": episode, "seen_by": "poll"}
        if self.chance.random() < 0.4:
            self.events.append(BeadUpdated(at=after, reason="Merged in hb-wisp-y", changes=("close_reason",), **again))
        if self.chance.random() < 0.5:
            self.events.append(BeadReopened(at=after, **(again | {"episode": episode + 1})))
        self.episodes[bead] = episode + 1

    def ends(self, session: str, actor: str, path: Path) -> None:
        """By session id, by tmux name, as a death, by falling quiet, twice, or not at all."""
        tmux = f"tmux-{actor.replace('/', '-')}"
        told = [
            SessionEnded(at=self.now, seen_by="hook", session_id=session, transcript_path=str(path), reason="other"),
            SessionEnded(at=self.now, seen_by="feed", tmux_session=tmux, reason="crash: pane exited", died=True),
            SessionEnded(at=self.now, seen_by="feed", tmux_session=tmux, reason="idle-reap: idle for 15m"),
            SessionEnded(at=self.now, seen_by="sweep", session_id=session, reason="quiet"),
        ]
        self.events += self.chance.sample(told, self.chance.choice((0, 1, 1, 1, 2)))


async def final_of(town: Path, events: list[Event]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        async with bench(Path(folder), town, clock=lambda: LATER) as here:
            await here.tell(*events)
            return here.final()


def check_convergence(seed: int, monkeypatch: pytest.MonkeyPatch) -> int:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        town = make_town(Path(folder), "harbor")
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(town / "claude"))
        story = Story(town, chance)
        story.live()
        once = story.events
        shuffled = chance.sample(once, len(once)) + chance.sample(once, len(once) // 3)
        chance.shuffle(shuffled)
        in_order, *others = [asyncio.run(final_of(town, order)) for order in (once, once[::-1], shuffled)]
        for other in others:
            assert in_order == other
        rows, files = in_order
        assert {f"{dict(row)['sha256']}.json" for row in rows} == set(files)
        return len(rows)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
@example(seed=362879)  # a session that begins with somebody else's bead
def test_the_final_state_is_a_function_of_the_evidence(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check_convergence(seed, monkeypatch)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_the_final_state_is_a_function_of_the_evidence_at_length(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check_convergence(seed, monkeypatch)


def test_the_stories_have_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property would hold of nothing, too."""
    assert sum(check_convergence(seed, monkeypatch) for seed in range(4)) > 4
