"""Long sessions cut into windows that a model can be trained on; pure functions of the messages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gtftd.schemas.corpus import Message, unsupervised_spans

CHARS_A_TOKEN = 3.5
"""Of English with code and paths, for the tokenizers of Llama 3 and Qwen; a trainer counts with its own."""
DIGEST_SHARE = 0.1
BEFORE_SHARE = 0.5
"""Of what the digest leaves: at most so much goes to turns before the first target."""
CLIP_SHARE = 0.25
"""The most of the budget that one message may take which nobody is trained on."""
_INJECTED = frozenset({"meta", "hook", "compaction"})
_HEADING = re.compile(r"#{1,6} \S")
Count = Callable[[str], int]


@dataclass(frozen=True)
class Window:
    """What one training example shows: the digest, then the messages `shown`, of which `targets` are supervised."""

    digest: str
    """Instead of the prime and system text before the first turn of the agent."""
    shown: tuple[int, ...]
    targets: tuple[int, ...]
    tokens: int
    clipped: Mapping[int, str] = field(default_factory=dict)
    """Messages whose middle was left out, with what is left of their content."""
    is_oversized: bool = False
    """Its only target alone is larger than the budget: a trainer must cut or skip it."""


def estimate_tokens(text: str) -> int:
    """Characters over 3.5, rounded up: within about 15 % on transcripts, and the same everywhere."""
    return math.ceil(len(text) / CHARS_A_TOKEN)


def call_text(name: str, arguments: Mapping[str, object]) -> str:
    """A tool call as plain words, for counting and comparing: its name, and each argument without escapes."""
    return f"{name} {_plain(arguments)}"


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value))
    return str(value)


def spoken(message: Message) -> str:
    """Everything that a message says, calls included."""
    return "\n".join([message.content, *(call_text(call.name, call.arguments) for call in message.tool_calls)])


def supervised_chars(message: Message) -> int:
    """How many characters of a trainable turn count in the loss: all but placeholders."""
    return supervised_chars_in(spoken(message))


def supervised_chars_in(spoken: str) -> int:
    """The same, of what a turn says."""
    text = spoken.strip()
    return len(text) - sum(end - start for start, end in unsupervised_spans(text))


def windows(
    messages: Sequence[Message], budget_tokens: int, count: Count, *, stale: Iterable[int] = ()
) -> list[Window]:
    """Every trainable turn with something to supervise is a target exactly once, in order.

    `messages` are whole (texts in place of references); `stale` are turns that today's conventions forbid to learn.
    A window holds at most `budget_tokens`, unless its only target is larger by itself. Turns before the first target
    get up to half of it, and a tool's answer is only shown together with its call.
    """
    return _Cutter(messages, budget_tokens, count, frozenset(stale)).cut()


class _Cutter:
    def __init__(self, messages: Sequence[Message], budget: int, count: Count, stale: frozenset[int]) -> None:
        self.messages = messages
        self.count = count
        self.targets = [
            index
            for index, message in enumerate(messages)
            if message.trainable and index not in stale and supervised_chars(message) > 0
        ]
        first_own = next((i for i, message in enumerate(messages) if message.role == "assistant"), len(messages))
        self.prime = {i for i in range(first_own) if _is_prime(messages[i])}
        self.digest = digest_of([messages[i].content for i in sorted(self.prime)], int(budget * DIGEST_SHARE), count)
        self.budget = budget - count(self.digest)
        self.caller = _callers(messages)
        self.most = max(1, int(self.budget * CLIP_SHARE))
        self.sizes: dict[int, int] = {}
        self.clips: dict[int, str] = {}

    def cut(self) -> list[Window]:
        found = []
        at = 0
        while at < len(self.targets):
            window, at = self._next(at)
            found.append(window)
        return found

    def _next(self, at: int) -> tuple[Window, int]:
        """The window whose first target is the `at`-th, and which target comes after it."""
        first = self.targets[at]
        start, before = first, 0
        room = min(self.budget * BEFORE_SHARE, self.budget - self._size(first))
        while start > 0 and before + self._size(start - 1) <= room:
            start -= 1
            before += self._size(start)
        used = before + self._size(first)
        stop, last = first + 1, at
        while last + 1 < len(self.targets):
            following = self.targets[last + 1]
            more = sum(self._size(i) for i in range(stop, following + 1))
            if used + more > self.budget:
                break
            used, stop, last = used + more, following + 1, last + 1
        return self._window(start, stop, tuple(self.targets[at : last + 1])), last + 1

    def _window(self, start: int, stop: int, targets: tuple[int, ...]) -> Window:
        shown = tuple(
            i for i in range(start, stop) if i not in self.prime and not (i in self.caller and self.caller[i] < start)
        )
        tokens = sum(self._size(i) for i in shown)
        clipped = {i: self.clips[i] for i in shown if i in self.clips}
        return Window(
            self.digest, shown, targets, tokens + self.count(self.digest), clipped, is_oversized=tokens > self.budget
        )

    def _size(self, index: int) -> int:
        """Tokens of a message as it is shown: what nobody learns is clipped, prime is in the digest."""
        if index in self.prime:
            return 0
        if index not in self.sizes:
            self.sizes[index] = self._measure(index)
        return self.sizes[index]

    def _measure(self, index: int) -> int:
        message = self.messages[index]
        size = self.count(spoken(message))
        if message.trainable or size <= self.most:
            return size
        clip = clipped(message.content, size, self.most)
        short = message.model_copy(update={"content": clip})
        self.clips[index] = clip
        return self.count(spoken(short))


def clipped(text: str, tokens: int, most: int) -> str:
    """The beginning and the end of a text of so many tokens, so that about `most` are left."""
    keep = max(16, int(len(text) * most / max(tokens, 1)) - 48) // 2
    if 2 * keep >= len(text):
        return text
    return f"{text[:keep]}\n[... {len(text) - 2 * keep} characters left out ...]\n{text[-keep:]}"


def digest_of(texts: Sequence[str], budget: int, count: Count) -> str:
    """Prime and system text within `budget` tokens: whole if it fits, else its headings with the line after each."""
    text = "\n\n".join(text.strip() for text in texts if text.strip())
    if not text or count(text) <= budget:
        return text
    kept: list[str] = []
    left = budget
    for line in _leading_lines(text):
        size = count(line + "\n")
        if size > left:
            break
        kept.append(line)
        left -= size
    return "\n".join(kept)


def _leading_lines(text: str) -> Iterable[str]:
    """The first line of the text, and each heading with the first line that follows it."""
    wanted = True
    for raw in text.splitlines():
        line = raw.strip()
        if _HEADING.match(line):
            wanted = True
            yield line[:200]
        elif wanted and line:
            wanted = False
            yield line[:200]


def _is_prime(message: Message) -> bool:
    return message.role == "system" or bool(message.refs) or message.kind in _INJECTED


def _callers(messages: Sequence[Message]) -> dict[int, int]:
    """For each tool answer, the message that called; an answer whose call is nowhere counts as called before all."""
    called: dict[str, int] = {}
    found: dict[int, int] = {}
    for index, message in enumerate(messages):
        if message.role == "tool":
            found[index] = called.get(message.tool_call_id or "", -1)
        for call in message.tool_calls:
            called[call.id] = index
    return found
