"""What a session said before anybody scrubbed it: types that no sink accepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["turn", "meta", "compaction", "hook", "terminal"]
Program = Literal["claude-code", "codex", "opencode"]
SHELL_TOOLS = frozenset({
    "Bash", "bash", "Shell", "shell", "shell_command", "exec_command", "local_shell", "container.exec",
    "run_shell_command", "execute_command", "run_terminal_cmd",
})  # fmt: skip
"""The tools whose argument `command` is a shell script, whatever the agent's program calls them."""

_NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True)
class RawCall:
    """One call of a tool; `arguments` are JSON values as they came, secrets included."""

    id: str
    name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True)
class RawMessage:
    """The fields of a corpus message, unscrubbed. Only the scrubber turns it into one."""

    role: Role
    content: str = ""
    tool_calls: tuple[RawCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    trainable: bool = False
    at: datetime | None = None
    kind: Kind = "turn"

    @property
    def is_empty(self) -> bool:
        return not self.content and not self.tool_calls and self.role != "tool"


@dataclass(frozen=True)
class Line:
    """One piece of a transcript. Pieces of one assistant message share `message_id`."""

    index: int
    message: RawMessage
    uuid: str | None = None
    message_id: str | None = None
    model: str | None = None
    thinking: str = ""
    """The model's reasoning: shown to nobody, never part of the content."""
    dropped: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    """What was left out here, and between the line before and this one."""

    @property
    def at(self) -> datetime | None:
        return self.message.at


@dataclass(frozen=True)
class Transcript:
    """One session as its file tells it; `problems` counts what was skipped, by kind."""

    session_id: str | None
    models: tuple[str, ...] = ()
    cwd: str | None = None
    version: str | None = None
    git_branch: str | None = None
    lines: tuple[Line, ...] = ()
    problems: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    agent_program: Program = "claude-code"


@dataclass(frozen=True)
class TranscriptHead:
    """What the first lines of a transcript say of the session."""

    session_id: str
    cwd: str | None = None
    started_at: datetime | None = None
    version: str | None = None
    git_branch: str | None = None
    git_head: str | None = None
    """The commit that the session began on, where the file says."""


class LineList:
    """Gathers the lines of a transcript; what was left out before a line is told with it."""

    def __init__(self) -> None:
        self.problems: Counter[str] = Counter()
        self.models: dict[str, None] = {}
        self._lines: list[Line] = []
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._lines)

    def drop(self, what: str, count: int = 1) -> None:
        """Count what is left out here. `what` is a word of ours: a file cannot invent counters."""
        self._waiting[what] += count
        self.problems[what] += count

    def count(self, dropped: Counter[str]) -> None:
        """Count all of these, and empty them."""
        self._waiting.update(dropped)
        self.problems.update(dropped)
        dropped.clear()

    def add(
        self,
        message: RawMessage,
        *,
        uuid: str | None = None,
        message_id: str | None = None,
        model: str | None = None,
        thinking: str = "",
    ) -> None:
        dropped = dict(self._waiting)
        self._waiting.clear()
        self._lines.append(Line(len(self._lines), message, uuid, message_id, model, thinking, dropped))
        if model:
            self.models.setdefault(model)

    def cut(self, first: int) -> None:
        """Take back the lines from `first` on; what they counted stays told."""
        for line in self._lines[first:]:
            self._waiting.update(line.dropped)
        del self._lines[first:]

    def lines(self) -> tuple[Line, ...]:
        return tuple(self._lines)

    def __getitem__(self, index: int) -> Line:
        return self._lines[index]


def merge(lines: tuple[Line, ...]) -> tuple[RawMessage, ...]:
    """The chat messages of some lines: pieces of one assistant message become one, in order.

    A text that follows a tool call starts a message of its own, so that no order is lost. A piece that
    was written twice (a resumed session repeats its history) counts once. Empty messages are left out.
    """
    merged: list[RawMessage] = []
    place: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    for line in lines:
        message = line.message
        if message.role != "assistant" or line.message_id is None:
            if not message.is_empty:
                merged.append(message)
            continue
        message = _unseen(line.message_id, message, seen)
        if message.is_empty:
            continue
        at = place.get(line.message_id)
        if at is None or (message.content and merged[at].tool_calls):
            place[line.message_id] = len(merged)
            merged.append(message)
        else:
            merged[at] = _joined(merged[at], message)
    return tuple(merged)


def _unseen(message_id: str, message: RawMessage, seen: set[tuple[str, str]]) -> RawMessage:
    calls = []
    for call in message.tool_calls:
        if ("call", call.id) not in seen:
            seen.add(("call", call.id))
            calls.append(call)
    content = message.content
    if content:
        key = (message_id, content)
        content = "" if key in seen else content
        seen.add(key)
    if content == message.content and len(calls) == len(message.tool_calls):
        return message
    return _with(message, content, tuple(calls))


def _joined(first: RawMessage, more: RawMessage) -> RawMessage:
    content = "\n\n".join(text for text in (first.content, more.content) if text)
    return _with(first, content, first.tool_calls + more.tool_calls)


def _with(message: RawMessage, content: str, calls: tuple[RawCall, ...]) -> RawMessage:
    return RawMessage(
        role=message.role,
        content=content,
        tool_calls=calls,
        tool_call_id=message.tool_call_id,
        is_error=message.is_error,
        trainable=message.trainable,
        at=message.at,
        kind=message.kind,
    )
