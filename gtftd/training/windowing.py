"""Chats cut so that they fit: no turn that is to be learned is lost without being counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from gtftd.training.chat import Turn, Unrenderable
from gtftd.training.encoding import Encoder
from gtftd.training.supervision import Supervised, supervise

Skip = Literal["oversized", "template_refused", "turn_unplaced", "nothing_supervised", "prompt_border"]
"""Why something is not learned. `oversized`: a turn alone is longer than a window. `turn_unplaced`: the template writes
it otherwise than after its own header. `prompt_border`: prompt and completion are not what the whole is, as tokens."""
Skipped = Counter[Skip]
LONGEST = 64
"""Characters of a token at the most, on average: what is longer than so many times a window is not tokenised at all."""
_EXACT = 16
_CHARS_A_TOKEN = 3.5
_TURN_TOKENS = 16
_CALLS = [{"id": "zq1", "type": "function", "function": {"name": "Bash", "arguments": {"command": "zq"}}}]


@dataclass(frozen=True)
class Chat:
    """One window of one entry; its first turn says whose work it is."""

    entry_id: str
    turns: tuple[Turn, ...]
    weight: float = 1.0


def counter(encoder: Encoder, most_tokens: int) -> Callable[[str], int]:
    """Counts what a text takes as a turn of its own; what is far too long for a window is only estimated."""
    frame = frame_tokens(encoder)
    exact_chars = _EXACT * most_tokens

    def count(text: str) -> int:
        if not text:
            return 0
        return frame + (encoder.count(text) if len(text) <= exact_chars else int(len(text) / _CHARS_A_TOKEN))

    return count


@lru_cache(maxsize=4)
def frame_tokens(encoder: Encoder) -> int:
    """What the template sets around a turn, and half of what it sets around a call: every other turn makes one."""
    asked, said, calling = (
        Turn({"role": "user", "content": "zq"}),
        Turn({"role": "assistant", "content": "zq"}),
        Turn({"role": "assistant", "content": "", "tool_calls": _CALLS}),
    )
    try:
        one, two, three = (_tokens(encoder, turns) for turns in ([asked], [asked, said], [asked, calling]))
    except Unrenderable:
        return _TURN_TOKENS
    frame = max(0, two - one - encoder.count("zq"))
    call = max(0, three - one - frame - encoder.count("Bash command zq"))
    return frame + (call + 1) // 2


def _tokens(encoder: Encoder, turns: Sequence[Turn]) -> int:
    return encoder.count(encoder.template.render([turn.message for turn in encoder.template.shape(turns)]))


def fit(turns: Sequence[Turn], encoder: Encoder, most_tokens: int, skipped: Skipped) -> Iterator[Supervised]:
    """The chat as one example, or as several where it is too long; each ends with the last turn that is learned."""
    made = _try_supervise(turns, encoder, most_tokens, skipped)
    if isinstance(made, Supervised):
        skipped["turn_unplaced"] += made.unplaced
        if made.count:
            yield _ended(made)
        else:
            skipped["nothing_supervised"] += 1
        return
    if made == "template_refused":
        skipped[made] += 1
        return
    targets = [index for index, turn in enumerate(turns) if turn.learned]
    if len(targets) > 1 and (less := _less_before(turns, targets[0], encoder, most_tokens)) is not None:
        yield from fit(less, encoder, most_tokens, skipped)
        return
    if len(targets) > 1:
        middle = len(targets) // 2
        yield from fit(turns[: targets[middle - 1] + 1], encoder, most_tokens, skipped)
        later = [replace(turn, learned=False) if i < targets[middle] else turn for i, turn in enumerate(turns)]
        yield from fit(later, encoder, most_tokens, skipped)
        return
    shorter = _shorter(turns[: targets[-1] + 1] if targets else turns, encoder, most_tokens)
    if shorter is None:
        skipped["oversized"] += 1
        return
    yield from fit(shorter, encoder, most_tokens, skipped)


def text_of(turn: Turn) -> str:
    """Everything that a turn says, calls included, for counting."""
    calls = turn.message.get("tool_calls")
    return f"{turn.content}\n{calls}" if calls else turn.content


def latest(turns: Sequence[Turn], room_tokens: int, count: Callable[[str], int]) -> list[Turn]:
    """The head, and as many of the last turns as fit beside it; no answer of a tool without its call."""
    head, rest = list(turns[:1]), turns[1:]
    left = room_tokens - sum(count(text_of(turn)) for turn in head)
    start = len(rest)
    while start > 0 and (size := count(text_of(rest[start - 1]))) <= left:
        start, left = start - 1, left - size
    return [*head, *answered(rest[start:])]


def answered(turns: Sequence[Turn]) -> list[Turn]:
    """Without answers of tools whose call is not among the turns before them."""
    called: set[object] = set()
    found = []
    for turn in turns:
        if turn.role != "tool" or turn.message.get("tool_call_id") in called:
            found.append(turn)
        calls = turn.message.get("tool_calls")
        called |= {call.get("id") for call in calls if isinstance(call, Mapping)} if isinstance(calls, list) else set()
    return found


def _try_supervise(
    turns: Sequence[Turn], encoder: Encoder, most_tokens: int, skipped: Skipped
) -> Supervised | Literal["oversized", "template_refused"]:
    if sum(len(text_of(turn)) for turn in turns) > LONGEST * most_tokens:
        return "oversized"
    try:
        made = supervise(turns, encoder)
    except Unrenderable:
        return "template_refused"
    return made if max(made.end, 1) <= most_tokens else "oversized"


def _less_before(turns: Sequence[Turn], first: int, encoder: Encoder, most_tokens: int) -> Sequence[Turn] | None:
    """Without the earliest turns before the first that is learned; None where less than half of these would be left."""
    count = counter(encoder, most_tokens)
    sizes = [count(text_of(turn)) for turn in turns]
    room = most_tokens - sum(sizes[first:])
    kept = latest(turns[:first], room, count)
    if len(kept) == first > 1:  # by the count it should have fitted
        kept = [turns[0], *answered(turns[2:first])]
    left = sum(count(text_of(turn)) for turn in kept[1:])
    is_enough = len(kept) < first and 2 * left >= sum(sizes[1:first])
    return answered([*kept, *turns[first:]]) if is_enough else None


def _shorter(turns: Sequence[Turn], encoder: Encoder, most_tokens: int) -> Sequence[Turn] | None:
    """Less context before the last turn, from the left; at last only the first paragraph of the head. None: no less."""
    *before, target = turns
    count = counter(encoder, most_tokens)
    kept = latest(before, most_tokens - count(text_of(target)), count)
    if len(kept) == len(before) > 1:  # by the count it should have fitted
        kept = [before[0], *answered(before[2:])]
    if len(kept) < len(before):
        return [*kept, target]
    if before and (first := before[0].content.split("\n\n")[0]) != before[0].content:
        head = replace(before[0], message={**before[0].message, "content": first})
        return [head, target]
    return None


def _ended(made: Supervised) -> Supervised:
    return replace(made, tokens=made.tokens[: made.end], supervised=made.supervised[: made.end])
