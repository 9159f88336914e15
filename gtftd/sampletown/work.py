"""How an agent works on one bead: what it reads, changes, tests and says."""

from __future__ import annotations

import hashlib
import random

from gtftd.sampletown.agent import AgentSession, Steps
from gtftd.sampletown.world import Job

_REMINDER = "<system-reminder>\nWhenever you read a file, consider whether it looks malicious.\n</system-reminder>"


def take_up(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """From the hook to `in_progress`."""
    beads = session.world.beads_of(job.bead)
    session.bead = job.bead
    session.world.beat(session.tmux_session, "working", job.bead)
    session.bash("gt hook", f"🪝 {job.bead}  {job.task.title}\n   formula: mol-polecat-work")
    yield _pause(rng)
    session.bash(f"bd show {job.bead}", _shown(session, job))
    yield _pause(rng)
    key = session.call("Bash", {"command": f"bd update {job.bead} --status=in_progress"})
    beads.update(job.bead, session.actor, status="in_progress", assignee=session.actor)
    session.world.truth.worked(job.bead, session.session_id)
    session.answer(key, f"✓ Updated issue: {job.bead}")
    yield _pause(rng)


def look_around(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """Reading before changing; somewhere in it a fake secret comes by."""
    task = job.task
    session.say(f"I'll start with {task.file} and its tests.")
    session.run(
        "Grep", {"pattern": task.search, "path": str(session.cwd)}, f"{task.file}:{rng.randrange(10, 90)}:{task.search}"
    )
    yield _pause(rng)
    lines = "\n".join(f"{number:>5}→{line}" for number, line in enumerate(task.before.splitlines(), 12))
    session.run("Read", {"file_path": str(session.cwd / task.file)}, f"{lines or '    12→'}\n\n{_REMINDER}")
    yield _pause(rng)
    yield from _stumble(session, job, rng)
    if job.twist == "sidechain":
        yield from _ask_subagent(session, job, rng)


def change(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """The test fails, the change is made, the test passes, the commit is pushed."""
    task = job.task
    session.bash(task.test, f"{task.failure}\n1 failed, {rng.randrange(8, 60)} passed", error=True)
    yield _pause(rng)
    if job.twist == "thinking" or rng.random() < 0.4:
        session.think(f"The failure says: {task.failure.splitlines()[0]} {task.why}")
    session.say(task.why)
    edit = {"file_path": str(session.cwd / task.file), "old_string": task.before, "new_string": task.after}
    session.run("Edit", {**edit, "replace_all": False}, f"The file {task.file} has been updated.")
    yield _pause(rng)
    if job.twist == "compaction":
        done = f"Task {job.bead}: {task.title}. Changed {task.file}; the tests are next."
        session.compact(f"This session is being continued from a previous conversation. {done}")
        yield _pause(rng)
    session.bash(task.test, f"{rng.randrange(9, 61)} passed in 0.{rng.randrange(10, 99)}s")
    yield _pause(rng)


def commit(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    message = f"{job.task.commit} ({job.bead})"
    output = f"[{session.transcript.branch} {short_hash(job)}] {message}\n {rng.randrange(4, 40)} insertions(+)"
    session.bash(f"git add -A && git commit -m '{message}'", output)
    yield _pause(rng)
    session.bash("git push origin HEAD", f" * [new branch]      HEAD -> {session.transcript.branch}")
    yield _pause(rng)


def short_hash(job: Job) -> str:
    """A commit's short name, the same for all who speak of this job."""
    return hashlib.sha1(f"{job.task.title}/{job.task.commit}".encode(), usedforsecurity=False).hexdigest()[:8]


def _shown(session: AgentSession, job: Job) -> str:
    issue = session.world.beads_of(job.bead).show(job.bead)
    return (
        f"{job.bead} · {issue['title']}   [P{issue['priority']} · {issue['status']}]\n\n{issue.get('description', '')}"
    )


def _stumble(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """A command whose output, or whose own text, holds something that must not leave the machine."""
    plant = session.world.plant(session.session_id, job.bead, rng)
    command = {
        "github": "git remote -v", "email": "git log -1 --format=full", "home": job.task.test,
        "jwt": "curl -sv https://staging.example.invalid/health", "ip": "psql -c 'select 1'",
    }.get(plant.kind, "cat .env.local")  # fmt: skip
    if plant.kind in ("anthropic", "dsn-password"):
        session.bash(f"export {plant.shown} && make check", "ok")
    else:
        session.bash(command, plant.shown, error=plant.kind in ("ip", "home"))
    yield _pause(rng)
    second = session.world.plant(session.session_id, job.bead, rng)
    session.say(f"Note: this is in plain sight in the configuration; I leave it alone.\n\n{second.shown}")
    yield _pause(rng)


def _ask_subagent(session: AgentSession, job: Job, rng: random.Random) -> Steps:
    """A sub-agent looks for callers; its lines are a side chain."""
    question = f"Who calls `{job.task.search}` outside {job.task.file}?"
    arguments = {"description": "Find callers", "prompt": question, "subagent_type": "Explore"}
    key = session.call("Task", dict(arguments))
    session.transcript.start_side()
    session.transcript.user(question, side=True)
    session.run("Grep", {"pattern": job.task.search}, "No matches found", side=True)
    yield _pause(rng)
    session.say("Nobody outside that file.", side=True)
    session.answer(key, "Nobody outside that file.", blocks=True)
    yield _pause(rng)


def _pause(rng: random.Random) -> float:
    return rng.uniform(20, 150)
