"""Preferences and judged completions as tokens: a prompt, and what was said then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gtftd.training.batches import Flags, Tokens
from gtftd.training.chat import Turn, Unrenderable
from gtftd.training.encoding import Encoder
from gtftd.training.supervision import Supervised, supervise
from gtftd.training.windowing import LONGEST, Skip, Skipped, answered, counter, latest, text_of

COMPLETION_SHARE = 0.75
"""Of a window: where a completion is longer, turns at its end are left out; the prompt gets what is left."""
_TRIES = 8


@dataclass(frozen=True)
class Preference:
    """One prompt and two ways to go on; which turns are learned says `Turn.learned`."""

    entry_ids: tuple[str, str]
    prompt: tuple[Turn, ...]
    chosen: tuple[Turn, ...]
    rejected: tuple[Turn, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Judged:
    """One prompt and one way to go on, good or bad."""

    entry_id: str
    prompt: tuple[Turn, ...]
    completion: tuple[Turn, ...]
    good: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Side:
    """A completion; the first token is the first that the model says."""

    tokens: Tokens
    supervised: Flags


@dataclass(frozen=True)
class Parted:
    """One prompt and its completions, one or two."""

    prompt: Tokens
    sides: tuple[Side, ...]


def part(
    prompt: Sequence[Turn], completions: Sequence[Sequence[Turn]], encoder: Encoder, most_tokens: int, skipped: Skipped
) -> Parted | None:
    """Prompt and each completion together in at most `most_tokens`; None, and counted, where that is not to be had."""
    count = counter(encoder, most_tokens)
    sides = [_shortened(turns, int(most_tokens * COMPLETION_SHARE), encoder, most_tokens) for turns in completions]
    longest = max(sum(count(text_of(turn)) for turn in side) for side in sides)
    before = latest(prompt, most_tokens - longest, count)
    for _ in range(_TRIES):
        found = _try_part(before, sides, encoder, most_tokens)
        if isinstance(found, Parted):
            if all(side.supervised.any() for side in found.sides):
                return found
            found = "nothing_supervised"
        if found != "oversized" or len(before) < 2:
            skipped[found] += 1
            return None
        before = [before[0], *answered(before[2:])]
    skipped["oversized"] += 1
    return None


def _try_part(
    before: Sequence[Turn], sides: Sequence[Sequence[Turn]], encoder: Encoder, most_tokens: int
) -> Parted | Skip:
    if any(sum(len(text_of(turn)) for turn in (*before, *side)) > LONGEST * most_tokens for side in sides):
        return "oversized"
    try:
        made = [supervise([*before, *side], encoder) for side in sides]
        prompt = encoder.prompt([turn.message for turn in encoder.template.shape(before)])
    except Unrenderable:
        return "template_refused"
    if any(one.end > most_tokens for one in made):
        return "oversized"
    if any(one.unplaced for one in made):
        return "turn_unplaced"
    if not all(_goes_on(prompt, one) for one in made):
        return "prompt_border"
    return Parted(prompt, tuple(_side(one, len(prompt)) for one in made))


def _goes_on(prompt: Tokens, whole: Supervised) -> bool:
    return whole.prompt == len(prompt) and np.array_equal(whole.tokens[: len(prompt)], prompt)


def _side(whole: Supervised, prompt: int) -> Side:
    return Side(whole.tokens[prompt : whole.end], whole.supervised[prompt : whole.end])


def _shortened(turns: Sequence[Turn], room_tokens: int, encoder: Encoder, most_tokens: int) -> list[Turn]:
    """The first turns, up to the last that is learned and fits; at least up to the first that is learned."""
    count = counter(encoder, most_tokens)
    used, stop = 0, 0
    for index, turn in enumerate(turns, start=1):
        used += count(text_of(turn))
        if stop and used > room_tokens:
            break
        if turn.learned:
            stop = index
    return [replace(turn, is_completion=True) for turn in turns[:stop]]
