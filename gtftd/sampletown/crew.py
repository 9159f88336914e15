"""Crew: long-lived workers who close their own beads, and hand over to their next session."""

from __future__ import annotations

import random
from collections.abc import Generator

from gtftd.sampletown.agent import AgentSession, Steps
from gtftd.sampletown.work import change, commit, look_around, short_hash, take_up
from gtftd.sampletown.world import Job, World
from gtftd.town.identity import Identity


def live_as_crew(world: World, identity: Identity, *, hours: tuple[float, ...], hand_over: bool) -> Steps:
    """One bead at each hour; with `hand_over` the first one is finished by a second session."""
    rng = world.chance(identity.actor)
    session: AgentSession | None = None
    world.busy.add(identity.actor)
    for index, hour in enumerate(hours):
        while world.second < hour * 3600:
            yield 120.0
        if session is None:
            session = AgentSession(world, identity)
            session.start()
        job = _hook_new(session, rng)
        yield from take_up(session, job, rng)
        yield from look_around(session, job, rng)
        if hand_over and index == 0:
            session = yield from _hand_over(session, job)
        yield from change(session, job, rng)
        yield from commit(session, job, rng)
        _close_own(session, job)
        session.stop()
        yield 300.0
    world.busy.discard(identity.actor)
    if session is not None:
        session.end(reason="prompt_input_exit")


def _hook_new(session: AgentSession, rng: random.Random) -> Job:
    """The overseer asks for something, with a secret in the prompt; the agent makes the bead and hooks it."""
    world, rig = session.world, str(session.identity.rig)
    task = world.decks[rig].deal()
    key_bead = world.create(rig, task, session.actor)
    plant = world.plant(session.session_id, key_bead, rng)
    session.prompt(f"Please do this one: {task.title}. For the staging check use this:\n{plant.shown}")
    session.bash(f'bd create "{task.title}" -t {task.kind}', f"✓ Created issue: {key_bead}")
    key = session.call("Bash", {"command": f"gt hook {key_bead}"})
    world.beads_of(key_bead).hook(key_bead, session.actor, session.actor)
    world.feed.append("hook", session.actor, {"bead": key_bead})
    session.answer(key, f"✓ Hooked {key_bead}")
    return Job(key_bead, task)


def _hand_over(session: AgentSession, job: Job) -> Generator[float, None, AgentSession]:
    """`gt handoff`: the session ends, the next one finds the bead on its hook."""
    world = session.world
    payload = {"to_session": session.tmux_session, "subject": f"half way through {job.bead}"}
    key = session.call("Bash", {"command": f"gt handoff -s 'half way through {job.bead}'"})
    world.feed.append("handoff", session.actor, payload)
    session.answer(key, "✓ Handing off")
    session.end(reason="other")
    yield 30.0
    heir = AgentSession(world, session.identity, work_bead=job.bead)
    heir.start(topic="handoff")
    heir.prompt(f"🤝 HANDOFF: half way through {job.bead}. The cause is found; the change is still to be made.")
    world.truth.worked(job.bead, heir.session_id)
    heir.bead = job.bead
    heir.bash("gt hook", f"🪝 {job.bead}  {job.task.title}")
    yield 60.0
    return heir


def _close_own(session: AgentSession, job: Job) -> None:
    world = session.world
    reason = f"Fixed: {job.task.commit} {short_hash(job)}"
    key = session.call("Bash", {"command": f'bd close {job.bead} --reason="{reason}"'})
    world.beads_of(job.bead).close(job.bead, reason, session.actor)
    world.truth.closed(job.bead, by=session.actor, reason=reason, outcome="completed")
    session.answer(key, f"✓ Closed {job.bead}")
    session.bead = None
    session.say(f"{job.bead} is closed; everything is pushed.")
