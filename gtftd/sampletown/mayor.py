"""The mayor: makes beads, slings them, answers escalations, reopens, sweeps, and does one thing itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from gtftd.sampletown.agent import AgentSession, Steps
from gtftd.sampletown.work import change, commit, look_around, short_hash
from gtftd.sampletown.world import Job, World
from gtftd.town.identity import Identity

HOUR_S = 3600.0
STALE = 5


@dataclass(frozen=True)
class Sling:
    """At `hour`, or as soon as the polecat is free after that, it gets a new task."""

    hour: float
    rig: str
    polecat: str
    twist: str = "plain"


PLAN = (
    Sling(0.2, "harbor", "furiosa", "compaction"), Sling(0.3, "harbor", "nux"), Sling(0.35, "lantern", "toast"),
    Sling(0.4, "harbor", "slit", "dies"), Sling(0.5, "lantern", "capable", "thinking"),
    Sling(0.5, "harbor", "nux"), Sling(0.6, "lantern", "toast"), Sling(1.4, "harbor", "nux", "rejected"),
    Sling(2.2, "harbor", "furiosa", "sidechain"),
    Sling(2.4, "lantern", "capable", "sidechain"), Sling(2.8, "harbor", "slit", "no_changes"),
    Sling(3.2, "harbor", "nux", "escalates"), Sling(3.6, "lantern", "toast", "compaction"),
    Sling(4.2, "harbor", "furiosa", "thinking"), Sling(4.4, "lantern", "capable"),
    Sling(4.9, "harbor", "slit", "defers"), Sling(5.2, "harbor", "nux"), Sling(5.6, "lantern", "toast", "no_changes"),
)  # fmt: skip
REOPEN_HOUR = 5.4
OWN_WORK_HOUR = 1.6
STALE_HOUR = 4.0


class Mayor:
    """One session for the whole day; its errands wait for their hour and happen one at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng: random.Random = world.chance("mayor")
        self.session = AgentSession(world, Identity("mayor"))
        self._plan = list(PLAN)
        self._stale: list[str] = []
        self._slung: set[str] = set()
        self._did_own_work = self._did_sweep = self._did_reopen = False

    def live(self) -> Steps:
        self.world.feed.append("boot", "gt", {"rig": "all", "agents": ["mayor", "deacon", "witness", "refinery"]})
        self.session.start(topic="start")
        self.session.prompt("Good morning. Keep both rigs busy; the overseer is back in the evening.")
        yield 60.0
        self._found_stale()
        while not self.world.is_over:
            yield from self._errands()
            self.world.dispatched = self._is_done()
            yield 60.0
        self.session.say("All hooks are empty. Good night.")
        self.session.stop()
        self.session.end(reason="prompt_input_exit")

    def _errands(self) -> Steps:
        yield from self._sling_due()
        yield from self._sling_requeued()
        yield from self._answer_escalations()
        if self._is_time(OWN_WORK_HOUR) and not self._did_own_work:
            self._did_own_work = True
            yield from self._work_on_own_bead()
        if self._is_time(STALE_HOUR) and not self._did_sweep:
            self._did_sweep = True
            yield from self._sweep_stale()
        if self._is_time(REOPEN_HOUR) and not self._did_reopen:
            yield from self._reopen()

    def _is_time(self, hour: float) -> bool:
        return self.world.second >= hour * HOUR_S

    def _is_done(self) -> bool:
        return not self._plan and self._did_own_work and self._did_sweep and self._did_reopen

    def _sling_due(self) -> Steps:
        for sling in [due for due in self._plan if self._is_time(due.hour)]:
            actor = Identity("polecat", sling.rig, sling.polecat).actor
            if actor in self.world.busy:
                continue
            self._plan.remove(sling)
            task = self.world.decks[sling.rig].deal()
            key = self.session.call("Bash", {"command": f'bd create --rig {sling.rig} "{task.title}" -t {task.kind}'})
            bead = self.world.create(sling.rig, task, "mayor")
            self.session.answer(key, f"✓ Created issue: {bead}")
            yield self.rng.uniform(10, 30)
            self._sling(Job(bead, task, sling.twist), sling.rig, actor)
            yield self.rng.uniform(10, 30)

    def _sling(self, job: Job, rig: str, actor: str) -> None:
        key = self.session.call("Bash", {"command": f"gt sling {job.bead} {rig}"})
        beads = self.world.beads_of(job.bead)
        beads.hook(job.bead, actor, "mayor")
        beads.update(
            job.bead,
            "mayor",
            description=f"{job.task.about}\n\nattached_formula: mol-polecat-work\ndispatched_by: mayor",
        )
        self.world.feed.append("sling", "mayor", {"bead": job.bead, "target": actor})
        self.world.feed.append("hook", actor, {"bead": job.bead})
        self.world.busy.add(actor)
        self._slung.add(job.bead)
        self.world.assigned.setdefault(actor, []).append(job)
        self.session.answer(key, f"✓ Slung {job.bead} to {actor}")

    def _sling_requeued(self) -> Steps:
        for rig, job in list(self.world.requeued):
            actor = Identity("polecat", rig, "furiosa" if rig == "harbor" else "toast").actor
            if actor in self.world.busy:
                continue
            self.session.prompt(f"Mail: RECOVERED_BEAD {job.bead}")
            self._sling(job, rig, actor)
            self.world.requeued.remove((rig, job))
            yield self.rng.uniform(10, 30)

    def _answer_escalations(self) -> Steps:
        while self.world.escalated:
            job = self.world.escalated.pop(0)
            self.session.prompt(f"Escalation [HIGH] {job.bead}")
            key = self.session.call("Bash", {"command": f"bd update {job.bead} --status=blocked"})
            self.world.beads_of(job.bead).update(job.bead, "mayor", status="blocked", assignee=None)
            self.world.feed.append("escalation_acked", "mayor", {"target": job.bead, "severity": "high"})
            self.session.answer(key, f"✓ Updated issue: {job.bead}")
            self.session.stop()
            yield self.rng.uniform(60, 200)

    def _work_on_own_bead(self) -> Steps:
        """A town bead that the mayor claims, does and closes itself."""
        world, session = self.world, self.session
        task = world.decks["hq"].deal()
        key = session.call("Bash", {"command": f'bd create "{task.title}"'})
        bead = world.create("hq", task, "mayor")
        session.answer(key, f"✓ Created issue: {bead}")
        yield 30.0
        key = session.call("Bash", {"command": f"bd update {bead} --claim"})
        world.beads["hq"].claim(bead, "mayor")
        world.truth.worked(bead, session.session_id)
        session.answer(key, f"✓ Claimed {bead}")
        job = Job(bead, task)
        for steps in (look_around, change, commit):
            yield from steps(session, job, self.rng)
        reason = f"Shipped: {task.commit} {short_hash(job)}"
        key = session.call("Bash", {"command": f'bd close {bead} --reason="{reason}"'})
        world.beads["hq"].close(bead, reason, "mayor")
        world.truth.closed(bead, by="mayor", reason=reason, outcome="completed")
        session.answer(key, f"✓ Closed {bead}")
        session.say(f"{bead} is done.")
        session.stop()

    def _found_stale(self) -> None:
        """Old ideas that nobody will work on."""
        for rig in ("harbor", "lantern", "harbor", "harbor", "lantern")[:STALE]:
            task = self.world.decks[rig].deal()
            idea = replace(task, title=f"Idea: {task.title[0].lower()}{task.title[1:]}")
            self._stale.append(self.world.create(rig, idea, "mayor", priority=4))

    def _sweep_stale(self) -> Steps:
        """One command closes them all within a second."""
        reason = "Stale backlog: superseded or no longer relevant"
        ids = " ".join(self._stale)
        self.session.prompt("Clean up the backlog.")
        key = self.session.call("Bash", {"command": f'bd close {ids} --reason="{reason}"'})
        for bead in self._stale:
            self.world.beads_of(bead).close(bead, reason, "mayor")
            self.world.truth.closed(bead, by="mayor", reason=reason, outcome="administrative")
        self.session.answer(key, "\n".join(f"✓ Closed {bead}" for bead in self._stale))
        self.session.stop()
        yield 60.0

    def _reopen(self) -> Steps:
        """A merged bead comes back: a regression, worked on a second time by another polecat."""
        merged = [
            bead.bead for bead, episode in self.world.truth.closed_episodes()
            if bead.bead in self._slung and bead.rig == "lantern" and episode.outcome == "merged"
        ]  # fmt: skip
        actor = Identity("polecat", "lantern", "capable").actor
        if not merged or actor in self.world.busy:
            return
        self._did_reopen = True
        bead = merged[0]
        issue = self.world.beads_of(bead).show(bead)
        task = replace(self.world.decks["lantern"].deal(), title=str(issue["title"]))
        self.session.prompt(f"{bead} is back: the pier lamp shows the same fault again.")
        key = self.session.call("Bash", {"command": f"bd reopen {bead}"})
        self.world.beads_of(bead).reopen(bead, "mayor")
        self.world.truth.reopened(bead)
        self.session.answer(key, f"✓ Reopened {bead}")
        yield 30.0
        self._sling(Job(bead, task), "lantern", actor)
