"""Commands that the conventions have left behind: which they are, who still tells agents to run them, who ran them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gtftd.corpus.acts import acts_of, verb_of
from gtftd.corpus.shell import Run, read_runs
from gtftd.town.conversation import RawMessage


@dataclass(frozen=True)
class Removed:
    """A command that no longer exists, what to run in its place, and where that is written."""

    command: str
    replacement: str
    source: str
    since: datetime | None = None


@dataclass(frozen=True)
class StaleUse:
    """One run of such a command, by an assistant message."""

    message: int
    command: str
    since: datetime | None
    replacement: str


_QUICK_REFERENCE = "role templates, Command Quick-Reference"
REMOVED: Mapping[str, Removed] = {
    entry.command: entry
    for entry in (
        Removed("bd sync", "nothing: beads are live in Dolt (gt dolt sync pushes)", "beads CHANGELOG 783, 974"),
        Removed("gt mq close", "gt mq reject, or gt mq post-merge", "gt mq has no close"),
        Removed("bd complete", "bd close", _QUICK_REFERENCE),
        Removed("gt issue create", "bd create", _QUICK_REFERENCE),
        Removed("gt polecat spawn", "gt sling", _QUICK_REFERENCE),
        Removed("gt polecat kill", "gt polecat nuke", _QUICK_REFERENCE),
        Removed("bd update --status done", "bd close", _QUICK_REFERENCE),
        Removed("bd update --status complete", "bd close", _QUICK_REFERENCE),
        Removed("gt stop", "gt down --polecats", "gastown CHANGELOG 1194"),
        Removed("gt swarm", "gt convoy", "gastown CHANGELOG 404"),
    )
}
_WRONG_STATUS = {"done": "done", "complete": "complete", "completed": "complete"}

_GROUPS = frozenset({
    "bd admin", "bd audit", "bd backup", "bd branch", "bd comments", "bd config", "bd daemon", "bd dep", "bd dolt",
    "bd epic", "bd federation", "bd formula", "bd gate", "bd github", "bd gitlab", "bd hooks", "bd jira", "bd kv",
    "bd label", "bd linear", "bd merge-slot", "bd mol", "bd repo", "bd swarm", "bd todo", "bd vc", "bd worktree",
    "gt account", "gt agent", "gt agents", "gt boot", "gt compact", "gt config", "gt convoy", "gt costs", "gt crew",
    "gt daemon", "gt deacon", "gt dog", "gt dolt", "gt formula", "gt hooks", "gt issue", "gt krc", "gt mail",
    "gt mayor", "gt mol", "gt molecule", "gt mq", "gt namepool", "gt patrol", "gt plugin", "gt polecat", "gt quota",
    "gt reaper", "gt refinery", "gt rig", "gt scheduler", "gt session", "gt step", "gt swarm", "gt synthesis",
    "gt tap", "gt theme", "gt town", "gt warrant", "gt witness", "gt wl", "gt worktree",
    "gt mq integration", "gt mol step", "gt tap guard", "gt rig config", "gt rig settings",
    "gt config agent",
})  # fmt: skip
"""Commands whose next word is a command of theirs."""
_WORD = re.compile(r"[a-z][a-z0-9-]{0,31}")
_FENCE = re.compile(r"^[ \t]{0,12}(```|~~~)", re.MULTILINE)
_SPAN = re.compile(r"(~~[ \t]*)?`([^`\n]{1,400})`|~~([^~\n]{1,400})~~")
_TEMPLATE = re.compile(r"\{\{-?[ \t]*(?:\.?cmd|\.Cmd)[ \t]*-?\}\}")
_PLACEHOLDER = re.compile(r"<[A-Za-z][\w .:|/-]{0,60}>")
_SHELL_LINE = re.compile(r"[ \t]*(?:[$>%][ \t]+)?(?:sudo[ \t]+)?(?=(?:bd|gt)[ \t]+[a-z])")
_ADVICE_AGAINST = re.compile(
    r"\b(?:never|do not|don't|must not|not a command|no longer|removed|wrong|avoid|instead of|rather than|deprecated)\b"
    r"|❌|✗|\bno[ \t]*$",
    re.IGNORECASE,
)
_PROSE = re.compile(r"[A-Za-z][a-z']*[,.;:!?]?(?:\s|$)")


def commands_named(text: str) -> frozenset[str]:
    """The heads of the `bd` and `gt` commands that an instruction text tells agents to run.

    Read are code blocks, code spans, and lines that begin with a command. What is struck out, or stands in
    a sentence that advises against it, is no instruction.
    """
    text = _TEMPLATE.sub("gt", text)
    found: set[str] = set()
    for is_code, part in _parts(text):
        for line in part.splitlines():
            if is_code or _SHELL_LINE.match(line):
                found.update(_of_code(line, is_prose=not is_code))
            if not is_code:
                found.update(_of_prose(line))
    return frozenset(found)


def retired(old_text: str | None, new_text: str | None, all_other_texts: Iterable[str]) -> frozenset[str]:
    """The commands that a change took out of an instruction text, if no other text still names them."""
    gone = commands_named(old_text or "") - commands_named(new_text or "")
    for text in all_other_texts:
        if not gone:
            break
        gone -= commands_named(text)
    return gone


def stale_uses(messages: Sequence[RawMessage], retired: Mapping[str, datetime]) -> tuple[StaleUse, ...]:
    """Every run of a removed or retired command, whatever the date of the run."""
    return tuple(
        use
        for act in acts_of(messages)
        for run in act.runs
        for name in names_of(run)
        if (use := _use(act.message, name, retired)) is not None
    )


def names_of(run: Run) -> tuple[str, ...]:
    """What a run of `bd` or `gt` is called: its head, and the wrong status that it sets."""
    head = head_of(run)
    verb = verb_of(run)
    if not head or verb is None:
        return ()
    if head == "bd update" and (status := _WRONG_STATUS.get((verb.value("--status", "-s") or "").lower())):
        return (head, f"bd update --status {status}")
    return (head,)


def head_of(run: Run) -> str:
    """`bd dep add`, `gt mq post-merge`: the command without its arguments; empty for another program."""
    if run.name not in ("bd", "gt"):
        return ""
    head = run.name
    for word in run.arguments[:8]:
        if word.startswith("-") and head == run.name:
            continue
        if not _WORD.fullmatch(word):
            break
        head = f"{head} {word}"
        if head not in _GROUPS:
            break
    return head if head != run.name else ""


def _use(message: int, name: str, retired: Mapping[str, datetime]) -> StaleUse | None:
    known = REMOVED.get(name) or REMOVED.get(" ".join(name.split()[:2]))
    if known is not None:
        return StaleUse(message, known.command, retired.get(name, known.since), known.replacement)
    if name in retired:
        return StaleUse(message, name, retired[name], "the instructions no longer name it")
    return None


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """The text in turns of prose and code block."""
    start, is_code = 0, False
    for fence in _FENCE.finditer(text):
        yield is_code, text[start : fence.start()]
        end = text.find("\n", fence.end())
        start, is_code = len(text) if end < 0 else end, not is_code
    yield is_code, text[start:]


def _of_prose(line: str) -> Iterator[str]:
    """The code spans of a line of prose."""
    start = 0
    for span in _SPAN.finditer(line):
        before, start = line[start : span.start()], span.end()
        if span[1] or span[2] is None or _ADVICE_AGAINST.search(before):
            continue
        yield from _of_code(span[2])


def _of_code(line: str, *, is_prose: bool = False) -> Iterator[str]:
    code, _, remark = _PLACEHOLDER.sub("X", line).partition(" # ")
    if _ADVICE_AGAINST.search(remark):
        return
    shell = _SHELL_LINE.match(code)
    for run in read_runs(code[shell.end() :] if shell else code):
        if not _is_sentence(run, 4 if is_prose else 1) and (head := head_of(run)):
            yield from names_of(run) or (head,)


def _is_sentence(run: Run, reach: int) -> bool:
    """`gt is the tool that ...` begins like a command."""
    words = run.arguments[:6]
    if not _VERBS_OF_PROSE.isdisjoint(words[:reach]):
        return True
    return len(words) > 4 and all(_PROSE.fullmatch(word) for word in words)


_VERBS_OF_PROSE = frozenset({
    "is", "are", "was", "has", "will", "can", "may", "and", "or", "does", "then", "commands", "command", "the", "for",
    "to", "in", "on", "with", "itself", "supports", "uses", "cli", "versions", "version's", "tool", "binary",
})  # fmt: skip
