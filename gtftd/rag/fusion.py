"""From two rankings to one: pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from gtftd.rag.words import names_of

Ranking = Sequence[tuple[str, float]]
"""Chunk ids with what they scored, the best first."""
DEPTH = 200
"""Candidates of each ranking: the worst of them is the zero of its scores."""
OF_PROSE, OF_NAMES = 0.45, 0.7
"""What the words decide in a question of plain words, and in one that holds a name: an id, a flag, a file."""


_CODE = re.compile(r"\b(?=[a-z]*\d)(?=\d*[a-z])[a-z\d]{5,}\b", re.IGNORECASE)
"""Letters and digits in one: a commit, a hash, a session."""


def weight_of(query: str) -> float:
    """How much of the score is the words'; the rest is the meaning's. Embeddings blur names."""
    return OF_NAMES if _CODE.search(query) or next(names_of(query), None) is not None else OF_PROSE


def fuse(
    lexical: Ranking, dense: Ranking, weight: float = OF_PROSE, waiting: Collection[str] = ()
) -> list[tuple[str, float]]:
    """One ranking of all candidates, 0 to 1. What a ranking does not hold counts there as its worst does, but
    what waits for its vector counts by its words alone.
    """
    by_words, by_meaning = _scaled(lexical), _scaled(dense)
    by_meaning |= {chunk: score for chunk, score in by_words.items() if chunk in waiting}
    summed = {
        chunk: weight * by_words.get(chunk, 0.0) + (1 - weight) * by_meaning.get(chunk, 0.0)
        for chunk in (*by_words, *by_meaning)
    }
    return _ranked(summed)


def reciprocal(rankings: Iterable[Ranking], k: int = 60) -> list[tuple[str, float]]:
    """Reciprocal rank fusion, the usual way to join rankings; measured beside `fuse`."""
    summed: dict[str, float] = {}
    for ranking in rankings:
        for rank, (chunk, _) in enumerate(ranking, 1):
            summed[chunk] = summed.get(chunk, 0.0) + 1 / (k + rank)
    return _ranked(summed)


def _scaled(ranking: Ranking) -> dict[str, float]:
    """0 to 1 between the worst and the best candidate."""
    if not ranking:
        return {}
    best, worst = ranking[0][1], ranking[-1][1]
    spread = best - worst
    return {chunk: (score - worst) / spread if spread > 1e-9 else 1.0 for chunk, score in ranking}


def _ranked(summed: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(summed.items(), key=lambda item: (-item[1], item[0]))
