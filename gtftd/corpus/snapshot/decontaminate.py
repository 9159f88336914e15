"""Whether an entry holds any of the examination: word n-grams and bead ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gtftd.corpus.snapshot.evals import SHORT, WHOLE, EvalIndex
from gtftd.corpus.snapshot.windows import spoken
from gtftd.corpus.snapshot.words import words_of
from gtftd.schemas.corpus import Entry

MOST = 3
"""So many items are named; one is enough to leave the entry out."""


def items_in_entry(entry: Entry, index: EvalIndex) -> tuple[str, ...]:
    """The items that stand in any message, read or written; texts by reference are compared by themselves."""
    return _found([entry.title, *map(spoken, entry.messages)], index)


def items_in_text(text: str, index: EvalIndex) -> tuple[str, ...]:
    return _found([text], index)


def _found(texts: Iterable[str], index: EvalIndex) -> tuple[str, ...]:
    if not index.items:
        return ()
    found: dict[str, None] = {}
    for text in texts:
        for item in _items(words_of(text), index):
            found.setdefault(item)
            if len(found) >= MOST:
                return tuple(found)
    return tuple(found)


def _items(words: Sequence[str], index: EvalIndex) -> Iterator[str]:
    if WHOLE <= len(words) < SHORT:
        item = index.messages.get(" ".join(words))
        if item is not None:
            yield item
    firsts = index.firsts
    for at in [at for at, word in enumerate(words[:-1]) if word in firsts]:
        for before, length in index.anchors.get((words[at], words[at + 1]), ()):
            start = at - before
            if start >= 0 and start + length <= len(words):
                item = index.grams.get(" ".join(words[start : start + length]))
                if item is not None:
                    yield item
