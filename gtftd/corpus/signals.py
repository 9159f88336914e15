"""What a span shows of its own fate, in commands and in what they printed; never in what anybody claims.

Indices are places in the messages that were read. A field with several is in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gtftd.corpus.acts import Act, Verb, acts_of, verb_of
from gtftd.corpus.runners import TestRun, test_runs
from gtftd.corpus.shell import Run
from gtftd.corpus.shell_rules import MAIN_BRANCHES, checked_out, pushed_to
from gtftd.corpus.town_rules import wrong_directions
from gtftd.town.conversation import RawMessage

__all__ = ["Signals", "TestRun", "read_signals"]

_COMMITTED = re.compile(r"^\[[^\]\n]{1,240} ([0-9a-f]{7,40})\] ", re.MULTILINE)
_NOT_PUSHED = re.compile(r"^(?: ! \[(?:remote )?rejected\]|error: failed to push|fatal: )", re.MULTILINE)
_OUT_OF_MEMORY = re.compile(
    r"JavaScript heap out of memory|^MemoryError\b|^Killed$|\bOOMKilled\b|"
    r"^(?:fatal error: )?(?:runtime: out of memory|out of memory)\b|signal: killed$|\(signal: 9, SIGKILL|"
    r"what\(\):  std::bad_alloc|: Cannot allocate memory$|java\.lang\.OutOfMemoryError|\b\d{1,8} Killed {1,40}\S",
    re.MULTILINE,
)
_LOOKING = frozenset({
    "cat", "grep", "rg", "head", "tail", "less", "sed", "awk", "journalctl", "dmesg", "git", "bd", "gt", "gh", "echo",
    "find", "ls", "wc", "cd", "printf", "jq",
})  # fmt: skip
"""Programs that print what others wrote."""
_OOM_EXIT = 137
_REFUSED_BRANCH = re.compile(
    r"(?:cannot|can't|refus\w+ to|must not) (?:submit|run|be run|complete)\b.{0,80}\b(?:main|master|default branch)\b|"
    r"\bon (?:the )?default branch\b|cannot submit \S{1,80} branch to (?:the )?merge queue",
    re.IGNORECASE,
)
_INTERRUPTED = re.compile(r"\s*\[Request interrupted by user")
_NUDGE = re.compile(
    r"\s*(?:<system-reminder>\s*)?(?:\[from [^\]\n]{1,120}\]|QUEUED NUDGE|\[QUEUED NUDGE|.{0,40}\bqueued nudge|"
    r"\[URGENT from |E-stop cleared|"
    r"\[(?:nudge|daemon|GAS TOWN|witness|deacon|mayor|refinery)\]|HEALTH_CHECK\b|Escalation \[)",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\s*(?:no[,.! ]|nope\b|stop\b|wait[,.! ]|don't\b|do not\b|that(?:'s| is) (?:wrong|not)|wrong\b|undo\b|revert\b|"
    r"you (?:should(?:n't| not| have)|must not|forgot|broke|missed|can't|cannot|didn't)|not (?:that|there|like)|"
    r"please (?:stop|undo|revert|don't)|why did you|instead[, ]|actually[, ]|I said\b|I told you)",
    re.IGNORECASE,
)
_ESTOP = re.compile(r"\bE-stop cleared\. Work may resume|\bE-STOP ACTIVE\b|⛔ EMERGENCY STOP", re.IGNORECASE)
_HOOK_VARIABLES = {"HUSKY": "0", "BD_NO_HOOKS": "1", "HUSKY_SKIP_HOOKS": "1", "GIT_SKIP_HOOKS": "1", "LEFTHOOK": "0"}
_NO_HOOKS_PATH = re.compile(r"core\.hooksPath=(?:/dev/null|)$", re.IGNORECASE)
_FEW = 2


@dataclass(frozen=True)
class Signals:
    """Everything seen; `timed_out` and `estopped` are judgements over the whole span."""

    tests: tuple[TestRun, ...] = ()
    failed_calls: frozenset[int] = frozenset()
    """Assistant messages all of whose calls failed."""
    said: str | None = None
    """COMPLETED, ESCALATED, DEFERRED or handoff: the last word the agent gave gt."""
    escalated: bool = False
    interrupted: tuple[int, ...] = ()
    """Assistant messages that a person stopped or whose call they rejected."""
    nudged: tuple[int, ...] = ()
    """User messages in which another agent or a person spoke into the work."""
    blocked: tuple[int, ...] = ()
    """Assistant messages with a call that a guard or a permission rule stopped."""
    hooks_skipped: tuple[int, ...] = ()
    memory_crash: tuple[int, ...] = ()
    timeouts: tuple[int, ...] = ()
    timed_out: bool = False
    """The span ends in at least two calls in a row that ran out of time."""
    wrong_branch: tuple[int, ...] = ()
    dependency_direction: tuple[int, ...] = ()
    commits: tuple[str, ...] = ()
    pushed: bool = False
    estopped: bool = False


def read_signals(messages: Sequence[RawMessage]) -> Signals:
    """Read the span once. Linear in its text, of which long answers count by their beginning and end."""
    acts = acts_of(messages)
    runs = [(act, run, verb_of(run)) for act in acts for run in act.runs]
    return Signals(
        tests=test_runs(acts),
        failed_calls=_all_failed(acts),
        said=_said(runs),
        escalated=any(verb is not None and _escalates(verb) for _, _, verb in runs),
        interrupted=_interrupted(messages, acts),
        nudged=_nudged(messages),
        blocked=_places(act for act in acts if act.blocked),
        hooks_skipped=_places(act for act, run, verb in runs if _skips_hooks(run, verb)),
        memory_crash=_places(act for act in acts if _ran_out_of_memory(act)),
        timeouts=_places(act for act in acts if act.timed_out),
        timed_out=_ends_in_timeouts(acts),
        wrong_branch=_wrong_branch(runs),
        dependency_direction=tuple(sorted(wrong_directions(acts))),
        commits=_commits(runs),
        pushed=any(_has_pushed(act, verb) for act, _, verb in runs),
        estopped=any(message.role != "assistant" and _ESTOP.search(message.content[:2000]) for message in messages),
    )


def _places(acts: Iterator[Act]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(act.message for act in acts))


def _all_failed(acts: Sequence[Act]) -> frozenset[int]:
    failed: dict[int, bool] = {}
    for act in acts:
        failed[act.message] = failed.get(act.message, True) and act.failed
    return frozenset(place for place, all_of_them in failed.items() if all_of_them)


def _said(runs: Sequence[tuple[Act, Run, Verb | None]]) -> str | None:
    said = None
    for act, _, verb in runs:
        if verb is None or verb.program != "gt" or act.failed:
            continue
        if verb.head == "handoff":
            said = "handoff"
        elif verb.head == "done":
            word = (verb.value("--status", "-s", "--exit") or "COMPLETED").upper()
            said = word if word in ("COMPLETED", "ESCALATED", "DEFERRED") else said
    return said


def _escalates(verb: Verb) -> bool:
    if verb.program != "gt" or verb.head != "escalate" or len(verb.words) < 2:
        return False
    return verb.words[1] not in ("list", "ack", "close", "stale", "show")


def _interrupted(messages: Sequence[RawMessage], acts: Sequence[Act]) -> tuple[int, ...]:
    places = {act.message for act in acts if act.rejected}
    last = None
    for place, message in enumerate(messages):
        if message.role == "assistant":
            last = place
        elif message.role == "tool" and not message.is_error:
            last = None  # its step was over: what was cut short after it is not here
        elif message.role == "user" and last is not None and _INTERRUPTED.match(message.content[:200]):
            places.add(last)
    return tuple(sorted(places))


def _nudged(messages: Sequence[RawMessage]) -> tuple[int, ...]:
    """A nudge of gt's, or a person's correction; the prompt that began the work is neither."""
    found, begun = [], False
    for place, message in enumerate(messages):
        if message.role == "assistant":
            begun = True
        elif message.role == "user" and begun and message.kind in ("turn", "meta", "hook"):
            head = message.content[:400]
            if _INTERRUPTED.match(head):
                continue
            if _NUDGE.match(head) or (message.kind == "turn" and _CORRECTION.match(head)):
                found.append(place)
    return tuple(found)


def _skips_hooks(run: Run, verb: Verb | None) -> bool:
    sets = dict(run.sets)
    if run.name == "export":
        sets |= {name: value for name, eq, value in (word.partition("=") for word in run.arguments) if eq}
    elif run.name not in ("", "git", "bd", "gt", "npm", "pnpm", "yarn"):
        return False
    if any(sets.get(name) == value for name, value in _HOOK_VARIABLES.items()) or sets.get("SKIP"):
        return True
    if verb is None or verb.program != "git":
        return False
    if any(_NO_HOOKS_PATH.search(word) for word in run.arguments):
        return True
    if verb.head == "config" and verb.words[1:3] in (("core.hooksPath", "/dev/null"), ("core.hookspath", "/dev/null")):
        return True
    if verb.head in ("commit", "push", "merge", "rebase", "am", "cherry-pick") and verb.has("--no-verify"):
        return True
    return verb.head == "commit" and any(re.fullmatch(r"-[aqsvn]*n[aqsvmn]*", word) for word in verb.flags)


def _ran_out_of_memory(act: Act) -> bool:
    """A command of the shell died for want of memory; a file or a log that speaks of it has not."""
    if act.exit_code == _OOM_EXIT:
        return True
    works = any(run.name not in _LOOKING for run in act.runs)
    return works and act.failed and act.shows(_OUT_OF_MEMORY)


def _ends_in_timeouts(acts: Sequence[Act]) -> bool:
    count = 0
    for act in reversed(acts):
        if act.timed_out:
            count += 1
        elif act.answer is not None:
            break
    return count >= _FEW


def _wrong_branch(runs: Sequence[tuple[Act, Run, Verb | None]]) -> tuple[int, ...]:
    """Where gt done refused the branch, or one who hands in by gt done committed or pushed to the main branch.

    Only polecats run gt done; for everybody else the main branch may be the right one.
    """
    found: dict[int, None] = {}
    branch: str | None = None
    if not any(verb is not None and verb.program == "gt" and verb.head == "done" for _, _, verb in runs):
        return ()
    for act, run, verb in runs:
        if verb is None:
            continue
        if verb.program == "git":
            on_main = branch in MAIN_BRANCHES
            if verb.head == "commit" and not act.failed and (on_main or _committed_to_main(act)):
                found[act.message] = None
            if not MAIN_BRANCHES.isdisjoint(pushed_to(run, branch)):
                found[act.message] = None
            if not act.failed and (now := checked_out(verb, run)) is not None:
                branch = now
        elif verb.program == "gt" and verb.head == "done" and act.failed and act.shows(_REFUSED_BRANCH):
            found[act.message] = None
    return tuple(found)


def _committed_to_main(act: Act) -> bool:
    return any(found.split()[0].strip("[") in MAIN_BRANCHES for found in act.found(_COMMITTED))


def _commits(runs: Sequence[tuple[Act, Run, Verb | None]]) -> tuple[str, ...]:
    makers = {"commit", "cherry-pick", "revert"}
    texts = {
        id(act): act for act, _, verb in runs if verb is not None and verb.program == "git" and verb.head in makers
    }
    return tuple(dict.fromkeys(sha for act in texts.values() for sha in _COMMITTED.findall(act.output)))


def _has_pushed(act: Act, verb: Verb | None) -> bool:
    if verb is None or verb.program != "git" or verb.head != "push" or act.answer is None or act.failed:
        return False
    return not act.shows(_NOT_PUSHED)
