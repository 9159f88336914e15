"""Conventions that only show over several turns: what came before a command, and how a span ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gtftd.corpus.acts import Act, Verb, verb_of
from gtftd.corpus.rulebook import AUTONOMOUS, Severity, Worker
from gtftd.corpus.runners import TestRun
from gtftd.corpus.shell import Run
from gtftd.corpus.shell_rules import MAIN_BRANCHES, Broken, checked_out, lists_remotes, pushed_to
from gtftd.corpus.town_rules import closes, is_mail, says_no_changes
from gtftd.town.conversation import RawMessage

_TASK_TOOLS = frozenset({"TodoWrite", "TaskCreate", "TaskUpdate", "TaskList", "TaskGet", "todowrite", "update_plan"})
_MCP_CLOSE = re.compile(r"mcp__\w*beads\w*__close(?:_issue)?")
_ASKS = re.compile(
    r"\b(?:should I|shall I|would you like|do you want me|want me to|let me know (?:if|when|how|whether|what)|"
    r"(?:awaiting|waiting for|wait for) (?:your|the user|approval|confirmation|review|instructions|further)|"
    r"ready for (?:your )?review|may I (?:proceed|go)|please (?:confirm|approve|review|advise)|"
    r"how would you like|which (?:option|approach) (?:would|do) you)",
    re.IGNORECASE,
)
_OFFERS_PUSH = re.compile(r"\bready to push (?:when|once|if|whenever) you|\b(?:shall|should) I push\b", re.IGNORECASE)
_SLEEP = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_POLL_S = 30.0
_HOME_FILES = re.compile(r"^/tmp/|^/var/tmp/|/\.beads/|/\.runtime/|^/dev/")
_COMMITTED_ON = re.compile(r"^\[([^\s\]]{1,240})(?: [^\]\n]{1,80})? [0-9a-f]{7,40}\] ", re.MULTILINE)
_OF_POLECAT = re.compile(r"polecat/([^/@]+)[/@]")
_GRACE = 2
"""How many messages after a health check an answer to it may be."""


@dataclass
class History:
    """What the span has seen so far; each run of a program adds to it."""

    branch: str | None = None
    mails: int = 0
    edits: int = 0
    commits: int = 0
    red: bool = False
    conflict: bool = False
    merged_since_rebase: bool = False
    dolt_seen: bool = False
    lists_branches: bool = False

    def of_run(self, verb: Verb | None, run: Run, worker: Worker) -> Iterator[Broken]:
        """What the run breaks because of what came before."""
        if worker.role == "polecat" and verb is not None:
            yield from self._of_polecat(verb)
        if worker.role == "refinery" and verb is not None:
            yield from self._of_refinery(verb, run)
        if self.lists_branches and run.name in ("grep", "rg") and any("polecat" in word for word in run.arguments):
            yield "branch-grep-queue", None
        if run.name == "sleep" and run.arguments and _length_s(run.arguments[0]) >= _POLL_S:
            yield "sleep-poll", None

    def _of_polecat(self, verb: Verb) -> Iterator[Broken]:
        if is_mail(verb) and self.mails:
            yield "second-mail", None
        clean = verb.program == "gt" and verb.head == "done" and verb.value("--cleanup-status") == "clean"
        if clean and self.edits and not self.commits:
            yield "dodges-commit-gate", None

    def _of_refinery(self, verb: Verb, run: Run) -> Iterator[Broken]:
        lands = not MAIN_BRANCHES.isdisjoint(pushed_to(run, self.branch)) or (
            verb.program == "gt" and verb.says("mq", "post-merge")
        )
        if self.red and lands:
            yield "merge-on-red", None
        if verb.program == "git" and verb.head == "merge" and self.merged_since_rebase and _merges(verb):
            yield "merge-without-rebase", None

    def add(self, act: Act, verb: Verb | None, run: Run) -> None:
        """Remember the run."""
        self.lists_branches = run.feeds_pipe and (self.lists_branches or (verb is not None and lists_remotes(verb)))
        if verb is None:
            return
        if is_mail(verb):
            self.mails += 1
        if verb.program == "gt" and verb.says("dolt", "status"):
            self.dolt_seen = True
        if verb.program == "git":
            self._add_git(act, verb, run)
        elif (verb.program, verb.head) in (("bd", "create"), ("bd", "new")) or verb.says("mq", "reject"):
            self.red = False

    def _add_git(self, act: Act, verb: Verb, run: Run) -> None:
        if not act.failed and (branch := checked_out(verb, run)) is not None:
            self.branch = branch
        if verb.head in ("rebase", "merge", "cherry-pick", "pull", "stash"):
            self.conflict = "CONFLICT" in act.output
        match verb.head:
            case "commit" if not act.failed:
                self.commits += 1
            case "rebase":
                self.merged_since_rebase = False
            case "push" if not act.failed and not MAIN_BRANCHES.isdisjoint(pushed_to(run, self.branch)):
                self.merged_since_rebase = True
            case _:
                pass

    def after(self, act: Act, tests: Sequence[TestRun]) -> None:
        """Remember what the answer to a call told."""
        self.edits += bool(act.edits) and not act.failed
        for test in tests:
            self.red = not test.passed


def of_call(act: Act, worker: Worker, history: History) -> Iterator[Broken]:
    """What a call breaks by its tool or by the file that it edits."""
    if worker.role == "polecat" and act.call.name in _TASK_TOOLS:
        yield "internal-task-list", None
    if act.edits and not all(_HOME_FILES.search(path) for path in act.edits):
        if worker.role == "refinery" and not history.conflict:
            yield "refinery-writes-code", None
        if worker.role == "witness":
            yield "witness-writes-code", None


def of_commits(act: Act, worker: Worker) -> Iterator[Broken]:
    """What the branches break that git says it committed to."""
    if worker.role != "polecat" or not any(run.name == "git" and "commit" in run.arguments for run in act.runs):
        return
    own = (worker.actor or "").rpartition("/")[2]
    for branch in _COMMITTED_ON.findall(act.output):
        of = _OF_POLECAT.match(branch)
        if branch in MAIN_BRANCHES:
            yield "commit-on-main", None
        elif own and of and of[1] != own:
            yield "commit-on-others-branch", None


def of_root_close(acts: Sequence[Act], worker: Worker) -> Iterator[tuple[Act, Severity | None]]:
    """The calls that close the polecat's own bead, less those that say `no-changes` and are followed by gt done."""
    runs = [(act, run) for act in acts for run in act.runs]
    last = max((act.message for act in acts), default=-1)
    done = [at for at, (_, run) in enumerate(runs) if run.name == "gt" and run.arguments[:1] == ("done",)]
    for at, (act, run) in enumerate(runs):
        verb = verb_of(run)
        if verb is None or not closes(run, worker.bead):
            continue
        if not (says_no_changes(verb) and (at < max(done, default=-1) or act.message == last)):
            yield act, None
    for act in acts:
        names = worker.bead is not None and act.call.arguments.get("issue_id") == worker.bead
        if names and _MCP_CLOSE.fullmatch(act.call.name):
            yield act, None


def of_text(messages: Sequence[RawMessage], acts: Sequence[Act], worker: Worker) -> Iterator[tuple[int, str]]:
    """What the agent's words break: only turns without a tool call that it ended of its own will."""
    said = [at for at, message in enumerate(messages) if message.role == "assistant" and message.trainable]
    if not said:
        return
    called = {act.message for act in acts}
    for at in said:
        if at in called or not _gave_the_turn_away(messages, at):
            continue
        end = messages[at].content[-1500:]
        if worker.role == "polecat" and _ASKS.search(end):
            yield at, "asks-and-waits"
        if worker.role == "crew" and _OFFERS_PUSH.search(end):
            yield at, "waits-to-push"
        if at == said[0] and acts and worker.role in AUTONOMOUS and _was_primed(messages, at):
            yield at, "announces-and-waits"
    last = said[-1]
    if last not in called and called and _nothing_after(messages, last):
        yield from _of_ending(acts, worker, last)


def _of_ending(acts: Sequence[Act], worker: Worker, last: int) -> Iterator[tuple[int, str]]:
    runs = [run for act in acts for run in act.runs if run.name == "gt"]
    heads = {run.arguments[0] for run in runs if run.arguments}
    if worker.role == "polecat" and heads.isdisjoint({"done", "handoff"}):
        yield last, "ended-without-done"
    dog_done = any(run.arguments[:2] == ("dog", "done") for run in runs)
    if worker.role == "dog" and not dog_done and "handoff" not in heads:
        yield last, "ended-without-dog-done"


def health_checked(messages: Sequence[RawMessage], at: int) -> bool:
    """A health check stands right before this message."""
    before = messages[max(0, at - _GRACE) : at]
    return any(message.role == "user" and "HEALTH_CHECK" in message.content[:2000] for message in before)


def _gave_the_turn_away(messages: Sequence[RawMessage], at: int) -> bool:
    following = messages[at + 1] if at + 1 < len(messages) else None
    return following is None or following.role == "user"


def _nothing_after(messages: Sequence[RawMessage], last: int) -> bool:
    return all(message.role == "user" and message.kind != "turn" for message in messages[last + 1 :])


def _was_primed(messages: Sequence[RawMessage], at: int) -> bool:
    return any(message.kind in ("hook", "meta") or message.role == "system" for message in messages[:at])


def _merges(verb: Verb) -> bool:
    return len(verb.words) > 1 and not verb.has("--abort", "--continue", "--quit")


def _length_s(word: str) -> float:
    found = _SLEEP.fullmatch(word[:32])
    return float(found[1]) * _SECONDS[found[2]] if found else 0.0
