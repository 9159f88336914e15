"""Patrol roles: deacon, boot, witness and refinery. Their sessions have no bead of their own, only wisps.

A round of a patrol is nobody's work; a merge request is the work of the refinery that merges it.
"""

from __future__ import annotations

from gtftd.sampletown.agent import AgentSession, Steps
from gtftd.sampletown.repository import land_commit
from gtftd.sampletown.world import Job, Landed, MergeRequest, World
from gtftd.town.identity import Identity

ROUND_S = 4500.0
UNHEARD_S = 900.0
"""How long a heartbeat is missed before work is taken off a hook. At a great speed it also keeps the death and the
next sling in different seconds, the finest that feed and database tell."""


def live_as_deacon(world: World) -> Steps:
    """When its pane dies, tmux starts the command again: a new session."""
    while not world.is_over:
        yield 30.0
        session = AgentSession(world, Identity("deacon"))
        session.start(topic="patrol")
        yield from _patrol(session, "hq", ("gt status", "2 rigs, 5 polecats, 0 stuck"))
        if session.is_alive:
            session.end()


def live_as_boot(world: World) -> Steps:
    """A short session each time, as gt starts boot afresh; one of them may be killed from outside."""
    rng = world.chance("boot")
    yield 600.0
    while not world.is_over:
        session = AgentSession(world, Identity("boot"))
        session.start(topic="triage")
        session.prompt("Check whether the deacon is awake.")
        for _ in range(3):
            yield rng.uniform(100, 400)
            if session.is_alive:
                session.bash("gt deacon status", "deacon: healthy, last heartbeat 40s ago")
        if session.is_alive:
            session.say("The deacon is awake. Nothing to do.")
            session.stop()
            session.end()
        yield rng.uniform(2000, 3000)


def live_as_witness(world: World, rig: str) -> Steps:
    session = AgentSession(world, Identity("witness", rig))
    yield 60.0
    session.start(topic="patrol")
    yield from _patrol(session, rig, ("gt polecat list", "all polecats have a fresh heartbeat"), patrol_rig=rig)
    session.end()


def _patrol(session: AgentSession, database: str, look: tuple[str, str], patrol_rig: str | None = None) -> Steps:
    """Rounds until the day is over or the session dies. Each is a wisp, poured and closed by the agent itself."""
    world = session.world
    rng = world.chance(session.actor)
    next_round = 0.0
    while session.is_alive and not world.is_over:
        if patrol_rig:
            yield from _requeue_dead(session, patrol_rig)
        if world.second < next_round:
            yield 240.0
            continue
        next_round = world.second + ROUND_S
        for pause in _one_round(session, database, look):
            yield pause
            if not session.is_alive:
                return
        yield rng.uniform(30, 90)


def _one_round(session: AgentSession, database: str, look: tuple[str, str]) -> Steps:
    world, beads = session.world, session.world.beads[database]
    session.prompt("Patrol: next round.")
    key = session.call("Bash", {"command": "bd mol wisp mol-patrol"})
    wisp = beads.create("mol-patrol", actor=session.actor, issue_type="molecule", wisp=True, assignee=session.actor)
    session.answer(key, f"✓ Created wisp {wisp}")
    yield 60.0
    session.bash(*look)
    yield 45.0
    key = session.call("Bash", {"command": f"bd close {wisp} --reason='patrol complete'"})
    beads.close(wisp, "patrol complete", session.actor)
    world.truth.wisps[wisp] = "patrol complete"
    session.answer(key, f"✓ Closed {wisp}")
    session.say("Round complete; nobody is stuck.")
    session.stop()


def _requeue_dead(session: AgentSession, rig: str) -> Steps:
    """Beads of dead polecats go back to open, and the mayor is told."""
    world = session.world
    for found in [entry for entry in world.dead if entry[0] == rig]:
        yield UNHEARD_S
        bead = found[1].bead
        session.prompt("[daemon] a polecat died with work on its hook")
        key = session.call("Bash", {"command": f"bd update {bead} --status=open --assignee="})
        world.beads_of(bead).update(bead, session.actor, status="open", assignee=None)
        session.answer(key, f"✓ Updated issue: {bead}")
        yield 30.0
        world.feed.append("mail", session.actor, {"to": "mayor/", "subject": f"RECOVERED_BEAD {bead}"})
        session.bash(f"gt mail send mayor/ -s 'RECOVERED_BEAD {bead}'", "✓ Message sent")
        session.stop()
        world.requeued.append((rig, Job(bead, found[1].task)))
        world.dead.remove(found)
        yield 30.0


def live_as_refinery(world: World, rig: str) -> Steps:
    """Merges what polecats submit, oldest first; `gt mq post-merge` closes the request and the bead.

    What fails its tests is sent back, and the bead goes on.
    """
    session = AgentSession(world, Identity("refinery", rig))
    rng = world.chance(session.actor)
    yield 90.0
    session.start(topic="patrol")
    while not world.is_over:
        if not world.merge_queue[rig]:
            yield 120.0
            continue
        request = world.merge_queue[rig][0]
        session.prompt(f"MERGE_READY {request.wisp}")
        session.bash("gt mq list", f"{request.wisp}  ready  {request.branch}")
        yield rng.uniform(60, 200)
        rebase = f"git rebase origin/main {request.branch} && {request.task.test}"
        if request.is_faulty:
            session.bash(rebase, f"Successfully rebased.\n{request.task.failure}\n1 failed, 7 passed", error=True)
            yield rng.uniform(60, 200)
            _reject(session, request, rig)
        else:
            session.bash(rebase, "Successfully rebased.\nok")
            yield rng.uniform(60, 200)
            session.bash(
                f"git checkout main && git merge --ff-only {request.branch} && git push origin main", "Fast-forward"
            )
            yield rng.uniform(30, 90)
            _merge(session, request, rig)
        world.merge_queue[rig].pop(0)
        session.stop()
        yield rng.uniform(30, 90)
    session.end()


def _merge(session: AgentSession, request: MergeRequest, rig: str) -> None:
    world = session.world
    subject = f"{request.task.commit} ({request.bead})"
    sha = land_commit(world.root / rig / "mayor/rig", subject, request.worker, world.now())
    if sha is not None:
        world.landed[request.bead] = Landed(sha, subject)
    key = session.call("Bash", {"command": f"gt mq post-merge {request.wisp}"})
    beads = world.beads_of(request.bead)
    world.truth.worked(request.wisp, session.session_id)
    about = str(beads.show(request.wisp)["description"])
    beads.update(request.wisp, session.actor, description=f"{about}\nmerge_commit: {sha}" if sha else about)
    beads.close(request.wisp, "merged", session.actor)
    world.truth.closed(request.wisp, by=session.actor, reason="merged", outcome="merged")
    reason = f"Merged in {request.wisp}"
    beads.close(request.bead, reason, session.actor)
    world.truth.closed(request.bead, by=session.actor, reason=reason, outcome="merged")
    session.answer(key, f"✓ MR {request.wisp} closed\n✓ Issue {request.bead} closed")
    session.say(f"Merged {request.branch}.")


def _reject(session: AgentSession, request: MergeRequest, rig: str) -> None:
    """Sent back: that was the refinery's work done. The bead is open again, and another polecat gets it."""
    world = session.world
    reason = "rejected: its tests fail after the rebase"
    key = session.call("Bash", {"command": f"gt mq reject {rig} {request.wisp} --reason '{reason}'"})
    beads = world.beads_of(request.bead)
    world.truth.worked(request.wisp, session.session_id)
    beads.close(request.wisp, reason, session.actor)
    world.truth.closed(request.wisp, by=session.actor, reason=reason, outcome="completed")
    beads.update(request.bead, session.actor, status="open", assignee=None)
    for work in world.truth.beads[request.bead].episodes[-1].work:
        world.truth.settled(request.bead, work.session_id, "rejected")
    session.answer(key, f"✓ MR {request.wisp} rejected; {request.bead} is open")
    session.say(f"Sent back {request.branch}.")
    world.requeued.append((rig, Job(request.bead, request.task)))
