"""What fits into a budget of tokens: must-haves cut between lines, and the most valuable rest.

Everything is deterministic: the same input gives the same choice, down to the byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gtftd.rag.tokens import Counter

_SCALE = 1_000_000
_CHARS_PER_TOKEN = 16
"""Few tokens are longer: text beyond the budget times this is taken for too long without counting it."""


@dataclass(frozen=True)
class Item:
    """`key` says which; `value` is what it is worth, of which six digits behind the point count."""

    key: str
    value: float
    tokens: int


def choose(items: Sequence[Item], budget: int) -> list[Item]:
    """0/1 knapsack, exact (dynamic programming over tokens): the greatest value within the budget, in given order.

    Of equal choices the one with fewer tokens, then the one with the earlier items.
    """
    worth = [round(max(item.value, 0.0) * _SCALE) for item in items]
    useful = [(at, item) for at, item in enumerate(items) if worth[at] > 0 and item.tokens <= budget]
    if budget < 0 or not useful:
        return []
    best = np.zeros(budget + 1, np.int64)
    taken = np.zeros((len(useful), budget + 1), np.bool_)
    for row, (at, item) in enumerate(useful):
        weight = max(item.tokens, 0)
        with_it = best[: budget + 1 - weight] + worth[at]
        taken[row, weight:] = with_it > best[weight:]
        best[weight:] = np.maximum(best[weight:], with_it)
    room = int(np.searchsorted(best, best[budget]))  # the least budget that reaches the greatest value
    chosen = []
    for row in range(len(useful) - 1, -1, -1):
        if taken[row, room]:
            chosen.append(useful[row][1])
            room -= max(useful[row][1].tokens, 0)
    return chosen[::-1]


@dataclass(frozen=True)
class Cut:
    """As much of a text as fits; `mark` is empty where all of it does."""

    text: str
    mark: str = ""

    @property
    def whole(self) -> str:
        return f"{self.text}\n{self.mark}".strip("\n") if self.mark else self.text


def cut(text: str, budget: int, counter: Counter, rest: str, *, of: int | None = None) -> Cut:
    """Cut a text that is too long after a line, or within a line that alone is too long; the mark tells how much is
    shown and where the rest is read (`rest`). Nothing at all where not even the mark fits. `of`: how many lines there
    were, where `text` itself is a beginning.
    """
    if of is None and len(text) <= budget * _CHARS_PER_TOKEN and counter.count(text) <= budget:
        return Cut(text)
    lines = text.split("\n")
    total = of or len(lines)
    kept = _fitting(lines, budget - counter.count(_mark(total, total, rest)), counter)
    while kept > 0:
        made = Cut("\n".join(lines[:kept]).rstrip(), _mark(kept, total, rest))
        if counter.count(made.whole) <= budget:
            return made
        kept -= 1
    return _cut_line(lines[0], budget, counter, rest)


def _fitting(lines: Sequence[str], budget: int, counter: Counter) -> int:
    """How many of the first lines fit, counted one by one: no more of a long text is read than is shown."""
    spent, own = 0, counter.count("a") - 1  # what a count adds for itself
    for number, line in enumerate(lines):
        if len(line) > (budget + 1) * _CHARS_PER_TOKEN:
            return number
        spent += counter.count(f"{line}\n") - own
        if spent > budget:
            return number
    return len(lines)


def _cut_line(line: str, budget: int, counter: Counter, rest: str) -> Cut:
    """The longest beginning that fits, by halving."""
    mark = f"[cut within its first line; the rest: {rest}]"
    low, high = 0, min(len(line), max(budget, 0) * _CHARS_PER_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        if counter.count(Cut(line[:middle], mark).whole) <= budget:
            low = middle
        else:
            high = middle - 1
    made = Cut(line[:low].rstrip(), mark)
    return made if low and counter.count(made.whole) <= budget else Cut("")


def _mark(shown: int, of: int, rest: str) -> str:
    return f"[cut: {shown} of {of} lines; the rest: {rest}]"
