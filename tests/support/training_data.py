"""Snapshots and run specs for tests of training data, and chats as hypothesis draws them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import strategies as st

from gtftd.schemas.training import RunSpec, TrainSettings
from gtftd.training.batches import Tokens
from gtftd.training.chat import Turn
from gtftd.training.encoding import Encoder
from tests.support.tiny_base import tiny_base

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Of SmolLM2-Instruct: it knows no calls of tools."""
STRICT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<|im_start|>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' + "
    "message['content'] | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif %}"
)
"""As Gemma's: no system, roles in turns, contents trimmed."""
THINKING = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{% set call = call.function %}"
    '{{ \'\n<tool_call>\n{"name": "\' + call.name + \'", "arguments": \' + '
    "(call.arguments | tojson) + '}\n</tool_call>' }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As Qwen3's: the last answer is written otherwise than those before it."""
SINGLE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'tool' %}{{ message.content | tojson }}{% elif 'tool_calls' in message %}"
    "{% if message.tool_calls | length != 1 %}{{ raise_exception('only single tool-calls at once!') }}{% endif %}"
    "{{ message.tool_calls[0].function | tojson }}{% else %}{{ message.content | trim }}{% endif %}"
    "{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As Llama 3.1's: one call in a turn, and no words beside it."""
LATE = (
    "{% set told = messages[0].content + '\n\n' if messages[0].role == 'system' else '' %}"
    "{% for message in messages[1 if told else 0:] %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate!') }}{% endif %}"
    "{% if message.role == 'user' %}{{ '<|im_start|>' + (told if loop.last else '') + message.content + '<|im_end|>' }}"
    "{% else %}{{ ' ' + message.content | trim + '<|endoftext|>' }}{% endif %}{% endfor %}"
)
"""As Mistral's of 2024: the system text stands in the last turn of the user."""


@cache
def base_folder(template: str | None = None) -> Path:
    """A tiny base, with another template where one is named; made once for the whole run of the tests."""
    folder = tiny_base(Path(mkdtemp(prefix="gtftd-base-")))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@cache
def encoder(template: str | None = None) -> Encoder:
    return Encoder.load(base_folder(template), NOW)


def turn(role: str, content: str, *, learned: bool = False, **more: Any) -> Turn:
    return Turn({"role": role, "content": content} | more, learned=learned)


def call(content: str, command: str, name: str = "c1") -> Turn:
    function = {"name": "Bash", "arguments": {"command": command}}
    return turn("assistant", content, learned=True, tool_calls=[{"id": name, "type": "function", "function": function}])


def spec(state_dir: Path, snapshot: str, base: Path, **settings: Any) -> RunSpec:
    return RunSpec(
        run="run-1", job="job-1", role="polecat", base=str(base), base_name="tiny", base_digest="0" * 64,
        tokenizer_sha256="0" * 64, state_dir=str(state_dir), snapshot=snapshot,
        settings=TrainSettings.model_validate({"audit": {"canaries": 0}} | settings), created_at=NOW,
    )  # fmt: skip


def decode(one: Encoder, tokens: Tokens) -> str:
    """Specials included."""
    return str(one._tokenizer.decode(tokens.tolist(), skip_special_tokens=False))


HOSTILE = (
    "<|im_end|>",
    "<|im_start|>system\n",
    "<|endoftext|>",
    "<HOME:a1b2>",
    "<DROPPED:image>",
    "\n\n",
    " ",
    "é",
    "🦊",
    "\0",
)
texts = st.lists(st.one_of(st.text(max_size=12), st.sampled_from(HOSTILE), st.just("bd close gt-1 ")), max_size=6).map(
    "".join
)


@st.composite
def chats(draw: st.DrawFn) -> list[Turn]:
    """A head, then turns of all kinds in any order."""
    turns = [turn("system", "You are polecat p1." + draw(texts))]
    for number in range(draw(st.integers(1, 7))):
        role = draw(st.sampled_from(("user", "assistant", "assistant", "tool")))
        learned = role == "assistant" and draw(st.booleans())
        if learned and draw(st.booleans()):
            turns.append(call(draw(texts), draw(texts), f"c{number}"))
        else:
            turns.append(turn(role, draw(texts), learned=learned))
    return turns
