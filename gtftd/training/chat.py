"""Chats as a base's own template writes them: what `apply_chat_template` of transformers gives, without importing it.

Where a template does not know calls of tools, or not several beside words, they stand in the turn that makes them, as
Hermes and Qwen write them: `<tool_call>`, the call as JSON, `</tool_call>`, each on a line of its own. Where it refuses
the turn of a tool, the answer is a user's turn between `<tool_response>` and `</tool_response>`. Where it wants user
and assistant to take turns, or no system turn at the beginning, turns of one side are joined, the system text goes to
the first user's turn, and a missing user's turn says `Go on.`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gtftd.errors import Invalid, Missing

Message = Mapping[str, object]
"""As transformers takes it: `role`, `content`, and where there are any `tool_calls` and `tool_call_id`."""
GO_ON = "Go on."
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FAILURES = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What the code of a template may raise over messages that it was not written for."""


class Unrenderable(Invalid):
    """The template refuses this chat."""


@dataclass(frozen=True)
class Turn:
    """One message; `learned`: the model is to learn to say it. `is_completion`: it is no part of a pair's prompt."""

    message: Message
    learned: bool = False
    is_completion: bool = False

    @property
    def role(self) -> str:
        return str(self.message["role"])

    @property
    def content(self) -> str:
        return str(self.message.get("content") or "")


class ChatTemplate:
    """The template of one base. Safe with templates of strangers: the sandbox shows them data alone."""

    def __init__(self, source: str, names: Mapping[str, str], now: datetime) -> None:
        """`names`: special tokens by what they are called; `now`: what templates are told when they ask the time."""
        self.source = source
        self._names = names
        try:
            self._template = _environment(now).from_string(source)
        except jinja2.TemplateError as error:
            raise Invalid(f"the chat template cannot be read: {error}") from error

    @classmethod
    def load(cls, folder: Path, now: datetime) -> ChatTemplate:
        """From a folder as transformers saves one. Raises Missing where it has no template, Invalid for a bad one."""
        if not folder.is_dir():
            raise Missing(f"there is no base at {folder}; `gtftctl base list` shows those that are there")
        config = _read_json(folder / "tokenizer_config.json")
        names = _names(config | _read_json(folder / "special_tokens_map.json"))
        return cls(_source(folder, config), names, now)

    def render(self, messages: Sequence[Message], *, begin_answer: bool = False) -> str:
        """`begin_answer`: with the header that lets the model speak next. Raises Unrenderable."""
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=begin_answer,
                **self._names,
            )
        except _FAILURES as error:
            raise Unrenderable(f"the chat template refuses a chat: {type(error).__name__}: {error}") from error

    def shape(self, turns: Sequence[Turn]) -> list[Turn]:
        """The turns in a form that this template knows; see the head of this file."""
        shaped = [self._plain(turn) for turn in turns]
        if not self.takes_system or not self.takes_any_order:
            shaped = _alternate(shaped, keep_system=self.takes_system)
        return shaped

    def _plain(self, turn: Turn) -> Turn:
        if turn.message.get("tool_calls") and not self.knows_calls:
            return _with(turn, content=_called(turn), without=("tool_calls",))
        if turn.role == "tool" and not self.knows_answers:
            content = f"<tool_response>\n{turn.content}\n</tool_response>"
            return _with(turn, content=content, role="user", without=("tool_call_id",))
        return turn

    @cached_property
    def knows_calls(self) -> bool:
        """All that a turn may hold: Llama 3.1 leaves out the words beside a call, and refuses a second call."""
        said = self._try(_ASKED, _CALLS)
        return all(word in said for word in ("zq_words", "zq_name", "zq_key", "zq_value", "zq_other"))

    @cached_property
    def knows_answers(self) -> bool:
        call = _CALLS if self.knows_calls else _SAID
        return "zq_answer" in self._try(_ASKED, call, _ANSWER, _SAID)

    @cached_property
    def takes_system(self) -> bool:
        """At the beginning, whatever follows: Mistral moves it to the last turn of the user, and then no answer but the
        last begins where it began.
        """
        said = self._try({"role": "system", "content": "zq_system"}, _ASKED, _SAID, _ASKED)
        return 0 <= said.find("zq_system") < said.find("zq_asked")

    @cached_property
    def takes_any_order(self) -> bool:
        return bool(self._try(_SAID, _SAID, _ASKED, _ASKED, _SAID))

    def _try(self, *messages: Message) -> str:
        try:
            return self.render(messages)
        except Unrenderable:
            return ""


_ASKED: Message = {"role": "user", "content": "zq_asked"}
_SAID: Message = {"role": "assistant", "content": "zq"}
_CALLS: Message = {
    "role": "assistant", "content": "zq_words",
    "tool_calls": [
        {"id": "zq1", "type": "function", "function": {"name": "zq_name", "arguments": {"zq_key": "zq_value"}}},
        {"id": "zq2", "type": "function", "function": {"name": "zq_other", "arguments": {}}},
    ],
}  # fmt: skip
_ANSWER: Message = {"role": "tool", "content": "zq_answer", "tool_call_id": "zq1"}


def _called(turn: Turn) -> str:
    calls = turn.message["tool_calls"]
    parts = [turn.content] if turn.content else []
    for call in calls if isinstance(calls, Iterable) else ():
        parts.append(f"<tool_call>\n{json.dumps(call['function'], ensure_ascii=False)}\n</tool_call>")
    return "\n".join(parts)


def _alternate(turns: Sequence[Turn], *, keep_system: bool) -> list[Turn]:
    """System first or nowhere, then user and assistant by turns. Two of the assistant stay two."""
    found: list[Turn] = []
    for turn in turns:
        as_user = turn.role == "system" and (found or not keep_system)
        one = _with(turn, role="user") if as_user else turn
        before = found[-1] if found else None
        if before is not None and before.role == one.role == "user":
            found[-1] = _with(before, content=f"{before.content}\n\n{one.content}")
            continue
        if one.role == "assistant" and (before is None or before.role in ("assistant", "system")):
            found.append(Turn({"role": "user", "content": GO_ON}, is_completion=bool(before and before.is_completion)))
        found.append(one)
    return found


def _with(turn: Turn, *, without: tuple[str, ...] = (), **fields: str) -> Turn:
    kept = {name: value for name, value in turn.message.items() if name not in without}
    return Turn(kept | fields, turn.learned, turn.is_completion)


def _source(folder: Path, config: Mapping[str, object]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}.get("default")
    if not isinstance(found, str):
        raise Missing(f"{folder} has no chat template; use the instruct variant of this base")
    return found


def _names(config: Mapping[str, object]) -> Mapping[str, str]:
    """Special tokens are plain strings, or objects with a `content`."""
    told = {name: config.get(name) for name in _NAMED}
    flat = {name: one.get("content") if isinstance(one, dict) else one for name, one in told.items()}
    return {name: one for name, one in flat.items() if isinstance(one, str)}


def _read_json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Invalid(f"{path} is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}


class _Generation(Extension):
    """`{% generation %}` marks what an assistant says, for trainers that ask the template; the text is the same."""

    tags = {"generation"}  # noqa: RUF012  # as jinja types it

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment(now: datetime) -> ImmutableSandboxedEnvironment:
    """As transformers sets it up."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = now.strftime
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike jinja's own, without escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
