"""What an agent did in its turns: each tool call with the programs it ran, the files it wrote and its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from gtftd.corpus.commands import VALUED
from gtftd.corpus.shell import Command, Run, as_run, read_runs, sort_arguments
from gtftd.town.conversation import SHELL_TOOLS, RawCall, RawMessage

_EDIT_TOOLS = frozenset({
    "Edit", "Write", "MultiEdit", "NotebookEdit", "edit", "write", "multiedit", "replace", "write_file", "patch",
    "apply_patch", "str_replace_editor", "str_replace_based_edit_tool",
})  # fmt: skip
_PATHS = ("file_path", "notebook_path", "filePath", "path")
_PATCHED = re.compile(r"^\*\*\* (?:Add|Update|Delete) File: (.{1,1024})$", re.MULTILINE)
_SHELL_NAMES = frozenset({"sh", "bash", "zsh", "dash"})
_VIEW_CHARS = 32 * 1024
_MAX_RUNS = 200
"""Programs of one call that are looked at: each may search the whole answer."""
_EXIT_CODE = re.compile(
    r"^(?:Error: )?(?:Exit code:?|Process exited with code|exit status:?|Command (?:failed|exited) with exit code:?)"
    r' (-?\d{1,3})\b|"exit_code": ?(-?\d{1,3})\b',
    re.MULTILINE,
)
_TELLS_EXIT = re.compile(
    r'\s{0,9}(?:Exit code:? -?\d|Chunk ID|Wall time|Process exited with code|\{ ?"(?:output|exit_code|metadata)")'
)
"""How the answers of a harness begin that says the exit code also of what did not fail."""
_BLOCKED = re.compile(
    r"\s{0,9}(?:Error: ?)?(?:"
    r"(?:PreToolUse:\S{1,64} (?:hook error|hook stopped|operation blocked)|Hook PreToolUse\S{0,64} denied)|"
    r"\S{1,64} operation blocked by hook|(?:Operation )?blocked by (?:a |the )?(?:PreToolUse )?hook|"
    r"[^\n]{0,80}\n?[^\n]{0,80}(?:PR WORKFLOW|DANGEROUS COMMAND) BLOCKED|"
    r"Permission to use \S{1,64} (?:with command .{0,999} )?has been denied|"
    r"Claude requested permissions to )",
    re.IGNORECASE | re.DOTALL,
)
_REJECTED = re.compile(
    r"\s{0,9}(?:The user doesn't want to (?:proceed with|take) this|User rejected tool use|"
    r"\[Request interrupted by user)"
)
_TIMED_OUT = re.compile(
    r"^(?:Error: )?(?:Command timed out after|Command timed out|Process timed out|timed out after \d|"
    r"Tool call timed out)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Act:
    """One tool call of an assistant message, and what came back; `answer` is None while nothing has."""

    message: int
    call: RawCall
    runs: tuple[Run, ...] = ()
    edits: tuple[str, ...] = ()
    answer: RawMessage | None = None
    answered_at: int | None = None

    @cached_property
    def output(self) -> str:
        """The answer's text: the beginning and the end of a long one."""
        return seen(self.answer.content) if self.answer is not None else ""

    @cached_property
    def _searched(self) -> dict[re.Pattern[str], tuple[str, ...]]:
        return {}

    def found(self, pattern: re.Pattern[str]) -> tuple[str, ...]:
        """Every match in the answer; searched once, however many programs of the call ask for it."""
        if pattern not in self._searched:
            self._searched[pattern] = tuple(match.group() for match in pattern.finditer(self.output))
        return self._searched[pattern]

    def shows(self, pattern: re.Pattern[str]) -> bool:
        return bool(self.found(pattern))

    @property
    def failed(self) -> bool:
        return self.answer is not None and (self.answer.is_error or (self.exit_code or 0) != 0)

    @cached_property
    def exit_code(self) -> int | None:
        """What the harness says of the command's exit, at the beginning or the end of the answer."""
        if not self.runs or self.answer is None:
            return None
        if not self.answer.is_error and _TELLS_EXIT.match(self.output) is None:
            return None  # what a program prints about exit codes is its own affair
        found = _EXIT_CODE.search(self.output[:400] + "\n" + self.output[-400:])
        return int(found[1] or found[2]) if found else None

    @property
    def blocked(self) -> bool:
        """A hook or a permission rule did not let it run."""
        return self.answer is not None and self.answer.is_error and _BLOCKED.match(self.output) is not None

    @property
    def rejected(self) -> bool:
        """A person did not let it run, or cut it short."""
        return self.answer is not None and self.answer.is_error and _REJECTED.match(self.output) is not None

    @property
    def timed_out(self) -> bool:
        if self.answer is None or not self.runs:
            return False
        ends = self.output[:400] if not self.answer.is_error else self.output[:400] + "\n" + self.output[-400:]
        return _TIMED_OUT.search(ends) is not None


@dataclass(frozen=True)
class Verb:
    """One run of `bd`, `gt` or `git` in words: `words` without flags, `flags` with their values."""

    program: str
    words: tuple[str, ...]
    flags: Mapping[str, str]

    @property
    def head(self) -> str:
        return self.words[0] if self.words else ""

    def says(self, *words: str) -> bool:
        return self.words[: len(words)] == words

    def has(self, *flags: str) -> bool:
        return any(flag in self.flags for flag in flags)

    def value(self, *flags: str) -> str | None:
        return next((self.flags[flag] for flag in flags if flag in self.flags), None)


_TOWN_VALUED = VALUED | {
    "-t", "--type", "-l", "--labels", "--label", "--add-label", "--parent", "--deps", "--prefix", "--agent", "--args",
    "--stdin-file", "--to", "--cc", "--mode", "--crew", "--merge", "--target", "--source", "--key", "--limit", "-n",
    "--acceptance", "--depends-on", "--blocked-by", "--blocks", "--body-file",
    "--set-status", "--summary", "--var", "--estimate", "-e", "--due", "--defer",
}  # fmt: skip
_GIT_VALUED = frozenset({
    "-C", "-c", "--git-dir", "--work-tree", "-m", "-am", "-sm", "-qm", "-asm", "-nm", "-anm",
    "--message", "-F", "--file", "--author", "--date", "-b", "-B", "-o",
    "--push-option", "-s", "--strategy", "-X", "--onto", "--source", "--repo", "--fixup", "--squash", "--create",
    "--reuse-message", "--reedit-message",
})  # fmt: skip
_GIT_OWN = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace"})


class ReadSpan(tuple[RawMessage, ...]):
    """The messages of a span whose tool calls are read once, however many functions ask for them."""

    @cached_property
    def acts(self) -> tuple[Act, ...]:
        return _acts_of(self)


def acts_of(messages: Sequence[RawMessage]) -> tuple[Act, ...]:
    """All tool calls of the span, in order, each with its answer. Cheap when asked again of a `ReadSpan`."""
    return messages.acts if isinstance(messages, ReadSpan) else _acts_of(messages)


def _acts_of(messages: Sequence[RawMessage]) -> tuple[Act, ...]:
    answers: dict[str, int] = {}
    for place, message in enumerate(messages):
        if message.role == "tool" and message.tool_call_id:
            answers.setdefault(message.tool_call_id, place)
    acts: list[Act] = []
    for place, message in enumerate(messages):
        if message.role == "assistant":
            for call in message.tool_calls:
                at = answers.get(call.id)
                answer = messages[at] if at is not None else None
                acts.append(Act(place, call, runs_of(call), edits_of(call), answer, at))
    return tuple(acts)


def runs_of(call: RawCall) -> tuple[Run, ...]:
    """The programs that a call of a shell tool runs; nothing for another tool or a call that only asks for help."""
    if call.name not in SHELL_TOOLS:
        return ()
    command = call.arguments.get("command", call.arguments.get("cmd"))
    if isinstance(command, str):
        return tuple(islice(read_runs(command), _MAX_RUNS))
    if not isinstance(command, (list, tuple)):
        return ()
    words = tuple(word for word in command[:4096] if isinstance(word, str))
    if len(words) > 2 and words[0].rpartition("/")[2] in _SHELL_NAMES and words[1].endswith("c"):
        return tuple(islice(read_runs(words[2]), _MAX_RUNS))
    return (as_run(Command(words)),)


def edits_of(call: RawCall) -> tuple[str, ...]:
    """The paths that a call of an editing tool writes."""
    if call.name not in _EDIT_TOOLS or call.arguments.get("command") == "view":
        return ()
    paths = [path for name in _PATHS if isinstance(path := call.arguments.get(name), str) and path]
    patch = call.arguments.get("input", call.arguments.get("patch", call.arguments.get("patchText")))
    if isinstance(patch, str):
        paths += _PATCHED.findall(patch[:_VIEW_CHARS])
    return tuple(path[:4096] for path in paths)


def verb_of(run: Run) -> Verb | None:
    """A run of `bd`, `gt`, `git` or `gh` that is meant: not one that asks for help or only tries."""
    if run.name not in ("bd", "gt", "git", "gh"):
        return None
    if {"--help", "-h", "--dry-run", "help"} & set(run.arguments[:64]) and _asks(run.arguments):
        return None
    arguments = _past_own_flags(run.arguments) if run.name == "git" else run.arguments
    words, flags = sort_arguments(arguments, _GIT_VALUED if run.name == "git" else _TOWN_VALUED)
    return Verb(run.name, tuple(words), flags)


def seen(text: str) -> str:
    """What is read of a text: all of it, or its beginning and its end."""
    return text if len(text) <= 2 * _VIEW_CHARS else text[:_VIEW_CHARS] + "\n" + text[-_VIEW_CHARS:]


def _asks(arguments: Sequence[str]) -> bool:
    return arguments[:1] == ("help",) or not {"--help", "-h", "--dry-run"}.isdisjoint(arguments)


def _past_own_flags(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Git's arguments from its subcommand on: `git -C dir push` is a push."""
    place = 0
    while place < len(arguments) and arguments[place].startswith("-"):
        place += 2 if arguments[place] in _GIT_OWN else 1
    return arguments[place:]
