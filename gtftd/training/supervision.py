"""Which tokens of a chat a model learns to say: its own turns that count, with what ends them, and nothing else.

A turn begins behind the header that the template writes for an answer, and ends with the first control token there
that ends a turn. Within it, the scrubber's placeholders are left out, and so is each token that reaches over a border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gtftd.schemas.corpus import unsupervised_spans
from gtftd.training.batches import Flags, Tokens
from gtftd.training.chat import Message, Turn, Unrenderable
from gtftd.training.encoding import Encoded, Encoder


@dataclass(frozen=True)
class Supervised:
    """One chat: what is said, and of which tokens the loss is taken."""

    tokens: Tokens
    supervised: Flags
    prompt: int | None = None
    """How many tokens come before the first turn of a completion; None without one, or where no token begins there."""
    end: int = 0
    """How many tokens there are up to the end of the last turn that is learned."""
    unplaced: int = 0
    """Turns that were to be learned and are not: the template writes them otherwise once others follow."""

    @property
    def count(self) -> int:
        return int(self.supervised.sum())


def supervise(turns: Sequence[Turn], encoder: Encoder) -> Supervised:
    """The chat as the base's template writes it, with the flags. Raises Unrenderable where the template refuses it."""
    shaped = encoder.template.shape(turns)
    guarded = encoder.guard([turn.message for turn in shaped])
    text = encoder.template.render(guarded.messages)
    first = next((index for index, turn in enumerate(shaped) if turn.is_completion and turn.role == "assistant"), None)
    wanted = [index for index, turn in enumerate(shaped) if turn.learned]
    asked = sorted({*wanted, *([first] if first is not None else [])})
    begins = {index: _begin(encoder, guarded.messages[:index], text) for index in asked}
    known = {index: at for index, at in begins.items() if at is not None}
    encoded, spelled = encoder.encode(text, guarded.stand_ins, list(known.values()))
    places = dict(zip(known, spelled, strict=True))
    return _flagged(
        encoder, encoded, [places.get(index) for index in wanted], None if first is None else places.get(first)
    )


def _begin(encoder: Encoder, before: Sequence[Message], text: str) -> int | None:
    """Where the answer to these messages begins; None where the whole text does not go on from them."""
    try:
        header = encoder.template.render(before, begin_answer=True)
    except Unrenderable:
        return None
    return len(header) if text.startswith(header) else None


def _flagged(encoder: Encoder, encoded: Encoded, begins: Sequence[int | None], first: int | None) -> Supervised:
    supervised = np.zeros(len(encoded.tokens), np.bool_)
    end, unplaced = 0, 0
    is_end = np.isin(encoded.tokens, sorted(encoder.end_ids))
    for begin in begins:
        stop = None if begin is None else _stop(encoded, is_end, begin)
        if begin is None or stop is None or stop <= end:
            unplaced += 1
            continue
        supervised |= _learned(encoded, begin, int(encoded.places[stop - 1, 1]))
        end = stop
    supervised[:1] = False
    prompt = None if first is None else _border(encoded, first)
    return Supervised(encoded.tokens, supervised, prompt, end, unplaced)


def _stop(encoded: Encoded, is_end: Flags, begin: int) -> int | None:
    """The place behind the token that ends the turn which begins at this character."""
    found = np.flatnonzero(is_end & (encoded.places[:, 0] >= begin))
    return int(found[0]) + 1 if len(found) else None


def _learned(encoded: Encoded, begin: int, end: int) -> Flags:
    starts, stops = encoded.places[:, 0], encoded.places[:, 1]
    flags = (starts >= begin) & (stops <= end) & (stops > starts)
    for left, right in unsupervised_spans(encoded.text[begin:end]):
        flags &= (stops <= begin + left) | (starts >= begin + right)
    found: Flags = flags
    return found


def _border(encoded: Encoded, place: int) -> int | None:
    found = int(np.searchsorted(encoded.places[:, 0], place))
    is_clean = found == 0 or int(encoded.places[found - 1, 1]) <= place
    return found if is_clean and found < len(encoded.tokens) else None
