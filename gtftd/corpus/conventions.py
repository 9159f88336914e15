"""Which conventions a span breaks (gastown.md 8.2), by rule, in the agent's own tool calls.

Precision before recall: what is quoted, printed, searched for, written in a here-document, or asked with
`--help` is no violation; a call that a guard stopped still is one. Rows that tool calls do not show:
7 (commits ahead, clean tree), 10 (scope of the branch), 11 and 13 (work that was not done in time),
24 (which rig owns the code), the rest of 25 and 32 (whose wisp it was, skipped steps), 33 but for mail to
dogs (heartbeat order, docked rigs), and 34's wait for an assignment: they need the database, git, or a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gtftd.corpus.acts import Act, acts_of, verb_of
from gtftd.corpus.ground import Ground, ground_of
from gtftd.corpus.rulebook import RULES, Rule, Severity, Worker
from gtftd.corpus.runners import TestRun, runner_of, test_runs
from gtftd.corpus.shell import Run
from gtftd.corpus.shell_rules import Broken, of_gh, of_git, of_paths, of_program, written_by
from gtftd.corpus.town_rules import is_mail, of_verb, wrong_directions
from gtftd.corpus.turn_rules import History, health_checked, of_call, of_commits, of_root_close, of_text
from gtftd.town.conversation import RawMessage

__all__ = ["RULES", "Rule", "Violation", "Worker", "violations"]

_CALM_ABOUT_DOLT = frozenset({"mayor", "deacon", "crew", "dog", "boot"})
"""They may restart Dolt once they have looked (townroot/claude.md); the others never."""


@dataclass(frozen=True)
class Violation:
    """One rule broken by one assistant message; `call_id` is None where its words break it."""

    rule: str
    message: int
    call_id: str | None
    severity: Severity


def violations(messages: Sequence[RawMessage], worker: Worker) -> tuple[Violation, ...]:
    """What the agent's own turns break, in order, each rule once for each call."""
    acts = [act for act in acts_of(messages) if messages[act.message].trainable]
    found: dict[Violation, None] = {}
    for act, (rule, severity) in _of_acts(messages, acts, worker):
        _note(found, worker, rule, act.message, act.call.id, severity)
    for act in wrong_directions(acts).values():
        _note(found, worker, "dependency-direction", act.message, act.call.id, None)
    for act, severity in of_root_close(acts, worker):
        _note(found, worker, "bd-close-own-root", act.message, act.call.id, severity)
    for message, rule in of_text(messages, acts, worker):
        _note(found, worker, rule, message, None, None)
    return tuple(sorted(found, key=lambda violation: violation.message))


def _note(
    found: dict[Violation, None], worker: Worker, id_: str, message: int, call: str | None, severity: Severity | None
) -> None:
    rule = RULES[id_]
    if rule.binds(worker):
        found.setdefault(Violation(id_, message, call, severity or rule.severity))


def _of_acts(messages: Sequence[RawMessage], acts: Sequence[Act], worker: Worker) -> Iterator[tuple[Act, Broken]]:
    history = History()
    start = ground = ground_of(worker)
    for act in acts:
        for broken in (
            *of_call(act, worker, history),
            *_of_edits(act, ground, worker),
            *of_commits(act, worker),
        ):
            yield act, broken
        for run in act.runs:
            for broken in _of_run(messages, act, run, ground, worker, history):
                yield act, broken
            ground = ground.after(run)
        history.after(act, _tests(act))
        if ground.cwd is None or ground.is_foreign(ground.cwd) or not _is_in(ground.cwd, start.cwd):
            ground = start  # the harness takes a shell back that has left the project


def _of_run(
    messages: Sequence[RawMessage], act: Act, run: Run, ground: Ground, worker: Worker, history: History
) -> Iterator[Broken]:
    verb = verb_of(run)
    yield from history.of_run(verb, run, worker)
    for rule, severity in of_program(run, ground, worker):
        if rule != "restarts-dolt" or not (history.dolt_seen and worker.role in _CALM_ABOUT_DOLT):
            yield rule, severity
    written = written_by(run)
    yield from of_paths(written)
    yield from _of_places(tuple(path for word in written if (path := ground.path(word))), ground, worker)
    if run.name in ("cd", "pushd") and worker.role == "polecat":
        target = ground.after(run).cwd if not run.nested else None
        if target is not None and ground.is_foreign(target):
            yield "cd-outside-worktree", None
    if verb is not None and verb.program == "git":
        yield from of_git(verb, run, worker, history.branch)
        if verb.head == "commit" and worker.role == "witness":
            yield "witness-writes-code", None
    elif verb is not None and verb.program == "gh":
        yield from of_gh(verb, worker)
    elif verb is not None:
        yield from of_verb(verb, run, worker)
        if is_mail(verb) and worker.role == "witness" and health_checked(messages, act.message):
            yield "mails-health-check", None
    history.add(act, verb, run)


def _of_edits(act: Act, ground: Ground, worker: Worker) -> Iterator[Broken]:
    yield from of_paths(act.edits)
    yield from _of_places(tuple(path for word in act.edits if (path := ground.path(word))), ground, worker)


def _of_places(paths: tuple[str, ...], ground: Ground, worker: Worker) -> Iterator[Broken]:
    """What writing to these places breaks because of whose they are."""
    if worker.role == "polecat" and any(ground.is_foreign(path) for path in paths):
        yield "edit-outside-worktree", None
    if worker.role == "mayor" and any(_is_anothers(ground.inside_town(path)) for path in paths):
        yield "mayor-codes", None


def _is_anothers(parts: tuple[str, ...]) -> bool:
    """In the workspace of a polecat or of crew."""
    return len(parts) > 3 and parts[1] in ("polecats", "crew")


def _is_in(path: str, folder: str | None) -> bool:
    return folder is not None and (path == folder or path.startswith(f"{folder}/"))


def _tests(act: Act) -> tuple[TestRun, ...]:
    return test_runs((act,)) if any(runner_of(run) for run in act.runs) else ()
