"""Whether an entry holds any of the examination: word n-grams and bead ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress

from gtftd.corpus.snapshot.evals import SHORT, WHOLE, EvalIndex
from gtftd.corpus.snapshot.utterances import Utterance
from gtftd.corpus.snapshot.words import words_of

MOST = 3
"""So many items are named; one is enough to leave the entry out."""


def items_in_entry(title: str, utterances: Iterable[Utterance], index: EvalIndex) -> tuple[str, ...]:
    """The items that stand in any message, read or written; texts by reference are compared by themselves."""
    return _found(chain([words_of(title)], (utterance.words for utterance in utterances)), index)


def items_in_text(text: str, index: EvalIndex) -> tuple[str, ...]:
    return _found([words_of(text)], index)


def _found(texts: Iterable[Sequence[str]], index: EvalIndex) -> tuple[str, ...]:
    if not index.items:
        return ()
    found: dict[str, None] = {}
    for words in texts:
        for item in _items(words, index):
            found.setdefault(item)
            if len(found) >= MOST:
                return tuple(found)
    return tuple(found)


def _items(words: Sequence[str], index: EvalIndex) -> Iterator[str]:
    if WHOLE <= len(words) < SHORT:
        item = index.messages.get(" ".join(words))
        if item is not None:
            yield item
    anchors = index.anchors
    pairs = zip(words, words[1:], strict=False)  # noqa: RUF007  # faster than pairwise, which makes new tuples
    for at in compress(range(len(words)), map(anchors.__contains__, pairs)):
        for before, length in anchors[words[at], words[at + 1]]:
            start = at - before
            if start >= 0 and start + length <= len(words):
                item = index.grams.get(" ".join(words[start : start + length]))
                if item is not None:
                    yield item
