"""Polecats: sessions that outlive their tasks, and what can become of a task (gastown.md 3.8, 8.1)."""

from __future__ import annotations

import random
from collections.abc import Generator

from gtftd.sampletown.agent import AgentSession, Steps, home_of
from gtftd.sampletown.repository import set_branch
from gtftd.sampletown.work import change, commit, look_around, take_up
from gtftd.sampletown.world import Job, MergeRequest, World
from gtftd.town.identity import Identity

IDLE_S = 900.0
NO_CHANGES = "Completed with no code changes (already fixed or pushed directly to main)"


def live_as_polecat(world: World, identity: Identity) -> Steps:
    """Wait for work, do it, stay idle, be reaped after a quarter of an hour."""
    rng = world.chance(identity.actor)
    session: AgentSession | None = None
    idle_since = 0.0
    while not world.is_over:
        queue = world.assigned.get(identity.actor, [])
        if queue:
            session = yield from _do_next(world, identity, session, queue[0], rng)
            queue.pop(0)
            world.busy.discard(identity.actor)
            idle_since = world.second
        elif session is not None and world.second - idle_since > IDLE_S:
            session.reap()
            session = None
        yield 45.0
    if session is not None:
        session.reap()


def _do_next(
    world: World, identity: Identity, session: AgentSession | None, job: Job, rng: random.Random
) -> Generator[float, None, AgentSession | None]:
    """One job from sling to done, in the session that is there or a new one; what is left of the session."""
    branch = f"polecat/{identity.name}/{job.bead}@{int(world.now().timestamp())}"
    set_branch(home_of(world.root, identity), branch)
    if session is None:
        world.feed.append("spawn", "gt", {"rig": identity.rig, "polecat": identity.name})
        session = AgentSession(world, identity, work_bead=job.bead)
        session.start(topic="assigned")
        session.prompt(f"[GAS TOWN] {identity.actor} <- mayor • assigned\n\nRun `gt prime` and begin.")
    else:
        session.transcript.branch = branch
        payload = {"rig": identity.rig, "target": identity.actor, "reason": "new work on your hook"}
        world.feed.append("nudge", "mayor", payload)
        session.prompt(f"New work on your hook: {job.bead}. Run it.")
    _update_agent_bead(session, f"agent_state: working\nhook_bead: {job.bead}")
    yield rng.uniform(10, 40)
    yield from take_up(session, job, rng)
    yield from look_around(session, job, rng)
    if job.twist == "dies":
        session.bash(job.task.test, job.task.failure, error=True)
        yield 60.0
        _die(world, session, job)
        return None
    yield from _FINISH.get(job.twist, _submit)(session, job, rng)
    session.bead = None
    session.stop()
    world.beat(session.tmux_session, "idle", None)
    return session


def _submit(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """The ordinary end: a merge request, `gt done`, idle. The bead stays open until it is merged."""
    yield from change(session, job, rng)
    yield from commit(session, job, rng)
    world, rig = session.world, str(session.identity.rig)
    branch = session.transcript.branch
    key = session.call("Bash", {"command": "gt done", "description": "Submit to the merge queue"})
    fields = f"branch: {branch}\ntarget: main\nsource_issue: {job.bead}\nworker: {session.identity.name}\nrig: {rig}"
    title = f"Merge: {job.bead}"
    wisp = world.beads[rig].create(
        title, actor=session.actor, description=fields, wisp=True, labels=("gt:merge-request",)
    )
    world.truth.opened(wisp, database=rig, rig=rig, title=title, issue_type="task", wisp=True)
    _tell_done(session, job, "COMPLETED", mr=wisp)
    world.merge_queue[rig].append(
        MergeRequest(wisp, job.bead, branch, job.task, session.actor, job.twist == "rejected")
    )
    session.answer(key, f"✓ Work submitted to merge queue\n  MR ID: {wisp}\n  Source: {branch}\n  Issue: {job.bead}")
    session.say(f"Submitted {job.bead} to the merge queue.")


def _close_without_change(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """Somebody fixed it before: the polecat closes the bead, and `gt done` closes it once more.

    Closed without a change is no work to learn from: administrative.
    """
    world = session.world
    session.bash(job.task.test, f"{rng.randrange(9, 60)} passed in 0.41s")
    yield 60.0
    session.say("The test passes on main already; there is nothing to change.")
    reason = f"no-changes: {job.task.test} passes, fixed by an earlier commit"
    key = session.call("Bash", {"command": f'bd close {job.bead} --reason="{reason}"'})
    world.beads_of(job.bead).close(job.bead, reason, session.actor)
    world.truth.closed(job.bead, by=session.actor, reason=reason, outcome="administrative")
    session.answer(key, f"✓ Closed {job.bead}: {reason}")
    yield 30.0
    key = session.call("Bash", {"command": "gt done"})
    world.beads_of(job.bead).close(job.bead, NO_CHANGES, session.actor)
    world.truth.closed(job.bead, by=session.actor, reason=NO_CHANGES, outcome="administrative")
    _tell_done(session, job, "COMPLETED")
    session.answer(key, "✓ No changes to submit; issue closed")
    session.say("Done, without a change.")


def _escalate(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """Tried twice, stuck: `gt escalate`, then `gt done --status=ESCALATED`."""
    world, task = session.world, job.task
    for _ in range(2):
        session.bash(task.test, task.failure, error=True)
        yield rng.uniform(60, 200)
    reason = f"{job.bead}: the test needs the staging database, which refuses us"
    key = session.call("Bash", {"command": f'gt escalate -s HIGH "{reason}"'})
    payload = {"rig": session.identity.rig, "target": job.bead, "to": "mayor", "reason": reason, "severity": "high"}
    world.feed.append("escalation_sent", session.actor, payload | {"actions": ["bead", "mail:mayor"]})
    session.answer(key, "✓ Escalation created")
    yield 30.0
    key = session.call("Bash", {"command": "gt done --status=ESCALATED"})
    _tell_done(session, job, "ESCALATED")
    world.truth.settled(job.bead, session.session_id, "escalated")
    world.escalated.append(job)
    session.answer(key, "✓ Escalated; waiting for no one")


def _defer(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    world = session.world
    session.bash(job.task.test, job.task.failure, error=True)
    yield rng.uniform(60, 200)
    session.say("This waits for the change of the price list. I put it down.")
    key = session.call("Bash", {"command": "gt done --status=DEFERRED"})
    _tell_done(session, job, "DEFERRED")
    world.beads_of(job.bead).update(job.bead, session.actor, status="deferred", assignee=None)
    world.truth.settled(job.bead, session.session_id, "deferred")
    session.answer(key, f"✓ {job.bead} deferred")


def _tell_done(session: AgentSession, job: Job, exit_type: str, mr: str = "") -> None:
    """What `gt done` leaves: a line in the feed, which has no exit type, and the agent bead, which has one."""
    world = session.world
    ended = f"exit_type: {exit_type}\nmr_id: {mr}\nbranch: {session.transcript.branch}"
    at = world.now().isoformat(timespec="seconds")
    _update_agent_bead(session, f"agent_state: done\nhook_bead: \n{ended}\ncompletion_time: {at}")
    world.feed.append("done", session.actor, {"bead": job.bead, "branch": session.transcript.branch})


def _update_agent_bead(session: AgentSession, state: str) -> None:
    """As gt does: made with the polecat, written anew with each task and each end, so that it holds the last alone."""
    world, who = session.world, session.identity
    beads = world.beads[str(who.rig)]
    bead = f"{beads.prefix}-{who.rig}-polecat-{who.name}"
    text = f"role_type: polecat\nrig: {who.rig}\n{state}"
    if bead in beads.ids():
        beads.update(bead, session.actor, description=text)
    else:
        beads.create(
            f"Polecat {who.name}", actor=session.actor, description=text, bead=bead, wisp=True, labels=("gt:agent",)
        )


def _die(world: World, session: AgentSession, job: Job) -> None:
    """The pane exits, and the deacon's and boot's with it: the daemon reports each, then all together."""
    gone = [session.tmux_session]
    world.truth.settled(job.bead, session.session_id, "failed")
    session.die()
    for other in [world.sessions[name] for name in ("hq-deacon", "hq-boot") if name in world.sessions]:
        gone.append(other.tmux_session)
        other.die()
    payload = {"count": len(gone), "window": "30s", "sessions": gone, "possible_cause": "out of memory"}
    world.feed.append("mass_death", "daemon", payload)
    world.dead.append((str(session.identity.rig), job))


_FINISH = {"no_changes": _close_without_change, "escalates": _escalate, "defers": _defer}
