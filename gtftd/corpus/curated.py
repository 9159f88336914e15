"""Curated examples: a whole file of them is read and checked before the first is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from gtftd.errors import Invalid, Missing
from gtftd.schemas.corpus import Label, Task
from gtftd.town.conversation import RawCall, RawMessage, Role
from gtftd.town.identity import FOR_ALL, ROLES
from gtftd.town.jsonl import MAX_DEPTH, clean

MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_MESSAGES = 10_000
_TEXTS = frozenset({".md", ".markdown", ".txt", ".rst"})
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "model": "assistant",
    "gpt": "assistant",
    "tool": "tool",
    "function": "tool",
}
_WORD = re.compile(r"[A-Za-z]{1,10}(?:[_-][A-Za-z]{1,10}){0,3}")
_LABELS = get_args(Label)
_TASKS = get_args(Task)
AUDIENCE = (*ROLES, FOR_ALL)
"""Whom an example can be for."""


@dataclass(frozen=True)
class Example:
    """One example as the file has it. What the file does not say is None."""

    messages: tuple[RawMessage, ...]
    role: str | None = None
    task: Task | None = None
    outcome: Label | None = None
    title: str = ""
    model: str | None = None


def read_examples(path: Path) -> list[Example]:
    """All examples of a file: JSON lines, a JSON array or object, or one text.

    Raises Missing, or Invalid with the line and what is wrong there.
    """
    try:
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise Missing(f"{path} is no file; give one with examples (.jsonl, .json, .md or .txt)")
        if size > MAX_FILE_BYTES:
            raise _refused(str(path), f"{size} bytes, more than {MAX_FILE_BYTES}; split it")
        content = path.read_bytes()
    except OSError as error:
        raise Missing(f"{path} cannot be read: {error.strerror}") from error
    try:
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(f"{path}, line {line}", f"not UTF-8 (byte {error.start}), convert it") from error
    found = _text(path, written) if path.suffix.lower() in _TEXTS else list(_objects(path, written))
    if not found:
        raise _refused(str(path), "it holds no example")
    return found


def _text(path: Path, written: str) -> list[Example]:
    if not written.strip():
        return []
    first = next(line for line in written.splitlines() if line.strip())
    title = first.lstrip("# ").strip()[:200] if first.startswith("#") else path.name
    return [Example((RawMessage("system", clean(written)),), task="document", title=title)]


def _objects(path: Path, written: str) -> Iterator[Example]:
    if path.suffix.lower() == ".json":
        loaded = _loaded(str(path), written)
        for number, item in enumerate(_listed(loaded), 1):
            yield _Reading(f"{path}, example {number}").example(item)
        return
    for number, line in enumerate(written.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise _refused(where, f"{len(line)} characters, more than {MAX_LINE_BYTES}")
            yield _Reading(where).example(_loaded(where, line))


def _listed(loaded: object) -> Sequence[object]:
    """An array of examples; one example; or one conversation as a bare array of messages."""
    if not isinstance(loaded, list):
        return [loaded]
    is_conversation = bool(loaded) and all(isinstance(item, dict) and "role" in item for item in loaded)
    return [loaded] if is_conversation and not any("messages" in item for item in loaded) else loaded


def _loaded(where: str, written: str) -> object:
    try:
        return json.loads(written)
    except ValueError as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) and "\n" in written else ""
        raise _refused(f"{where}{line}", f"not JSON ({_fault(error)})") from error
    except RecursionError as error:
        raise _refused(where, f"nested too deep, more than {MAX_DEPTH} levels") from error


class _Reading:
    """One example; every complaint says where."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._calls = 0

    def example(self, loaded: object) -> Example:
        told: Mapping[str, object] = loaded if isinstance(loaded, dict) else {"messages": loaded}
        listed = told.get("messages", told.get("conversations"))
        if not isinstance(listed, list) or not listed:
            raise self._wrong('an example needs "messages", a list with at least one message')
        if len(listed) > MAX_MESSAGES:
            raise self._wrong(f"{len(listed)} messages, more than {MAX_MESSAGES}")
        messages: list[RawMessage] = []
        if isinstance(system := told.get("system"), str | list):
            messages.append(RawMessage("system", self._plain(system, "system")))
        for number, item in enumerate(listed, 1):
            messages += self._message(item, number)
        if not any(message.content or message.tool_calls for message in messages):
            raise self._wrong("no message says anything")
        return Example(
            tuple(messages),
            role=self._chosen(told, "role", AUDIENCE),
            task=cast(Task | None, self._chosen(told, "task", _TASKS)),
            outcome=cast(Label | None, self._chosen(told, "outcome", _LABELS)),
            title=clean(str(told.get("title") or ""))[:200],
            model=clean(str(told["model"]))[:200] if isinstance(told.get("model"), str) else None,
        )

    def _chosen(self, told: Mapping[str, object], name: str, allowed: Sequence[str]) -> str | None:
        value = told.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value or len(value) > 64:
            raise self._wrong(f'"{name}" must be a short string, it is {_shown(value)}')
        if value not in allowed:
            raise self._wrong(f'"{name}" is {_shown(value)}, it must be one of: {", ".join(allowed)}')
        return value

    def _message(self, item: object, number: int) -> Iterator[RawMessage]:
        if not isinstance(item, dict):
            raise self._wrong(f"message {number} is no object")
        said = item.get("role", item.get("from"))
        role = _ROLES.get(said) if isinstance(said, str) else None
        if role is None:
            raise self._wrong(f"message {number} has the role {_shown(said)}, it must be one of: {', '.join(_ROLES)}")
        content = item.get("content", item.get("value"))
        trainable = self._trainable(item, role, number)
        if isinstance(content, list) and role in {"user", "assistant"}:
            yield from self._of_blocks(content, role, number, trainable)
            return
        calls = self._openai_calls(item, number)
        call_id = item.get("tool_call_id")
        yield RawMessage(
            role=role,
            content=self._plain(content, f"message {number}"),
            tool_calls=calls,
            tool_call_id=str(call_id)[:200] if call_id is not None else None,
            trainable=trainable,
        )

    def _trainable(self, item: Mapping[str, Any], role: Role, number: int) -> bool:
        """What the file marks (`trainable`, or `weight` as OpenAI has it), else every assistant turn."""
        marked = item.get("trainable", item.get("weight"))
        if marked is None:
            return role == "assistant"
        if marked not in (True, False, 0, 1):
            raise self._wrong(f'message {number}: "trainable" must be true or false, it is {_shown(marked)}')
        if marked and role != "assistant":
            raise self._wrong(f"message {number} is marked trainable, and is of role {role}: only assistant turns are")
        return bool(marked)

    def _of_blocks(self, blocks: Sequence[object], role: Role, number: int, trainable: bool) -> Iterator[RawMessage]:
        """Anthropic's shape: results of tools stand in user messages, before what the user says."""
        texts: list[str] = []
        calls: list[RawCall] = []
        for block in blocks:
            if not isinstance(block, dict):
                raise self._wrong(f"message {number} has a block that is no object")
            match block.get("type", "text"):
                case "text" | "input_text" | "output_text":
                    texts.append(self._plain(block.get("text"), f"message {number}"))
                case "tool_use" if role == "assistant":
                    calls.append(self._call(block.get("id"), block.get("name"), block.get("input"), number))
                case "tool_result" if role == "user":
                    content = self._plain(block.get("content"), f"message {number}")
                    yield RawMessage(
                        "tool",
                        content,
                        tool_call_id=str(block.get("tool_use_id") or "")[:200] or None,
                        is_error=block.get("is_error") is True,
                    )
                case "thinking" | "redacted_thinking":
                    continue
                case other:
                    raise self._wrong(f"message {number} has a block of type {_shown(other)}, which is no text")
        if texts or calls:
            yield RawMessage(role, "\n\n".join(texts), tool_calls=tuple(calls), trainable=trainable)

    def _openai_calls(self, item: Mapping[str, Any], number: int) -> tuple[RawCall, ...]:
        listed = item.get("tool_calls") or ()
        if not isinstance(listed, list | tuple):
            raise self._wrong(f'message {number}: "tool_calls" must be a list')
        calls = []
        for call in listed:
            function = call.get("function", call) if isinstance(call, dict) else None
            if not isinstance(function, dict):
                raise self._wrong(f"message {number} has a tool call that is no object")
            arguments = function.get("arguments", function.get("input", {}))
            calls.append(self._call(call.get("id"), function.get("name"), arguments, number))
        return tuple(calls)

    def _call(self, ident: object, name: object, arguments: object, number: int) -> RawCall:
        if not isinstance(name, str) or not name:
            raise self._wrong(f"message {number} has a tool call without a name")
        told = name if _WORD.fullmatch(name) else "a call"
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except (ValueError, RecursionError) as error:
                raise self._wrong(f"message {number}: the arguments of {told} are no JSON ({_fault(error)})") from error
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            raise self._wrong(f"message {number}: the arguments of {told} must be an object")
        self._calls += 1
        return RawCall(str(ident)[:200] if ident else f"call_{self._calls}", clean(name), arguments)

    def _plain(self, content: object, where: str) -> str:
        if content is None:
            return ""
        if isinstance(content, str):
            return clean(content)
        if isinstance(content, list) and all(isinstance(block, dict) and "text" in block for block in content):
            return "\n\n".join(clean(str(block["text"])) for block in content)
        raise self._wrong(f"{where}: the content must be text or a list of text blocks")

    def _wrong(self, message: str) -> Invalid:
        return _refused(self._where, message)


def _fault(error: Exception) -> str:
    """Without the line, which is said before."""
    return f"{error.msg}: column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _refused(where: str, why: str) -> Invalid:
    return Invalid(f"{where}: {why}; nothing of this file was added")


def _shown(value: object) -> str:
    """A word as somebody may have misspelt it; anything else is not quoted, since nobody has scrubbed it yet."""
    if isinstance(value, bool | int) or (isinstance(value, str) and _WORD.fullmatch(value)):
        return repr(value)
    return "a text" if isinstance(value, str) else f"of the type {type(value).__name__}"
