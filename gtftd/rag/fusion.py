"""From two rankings to one: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gtftd.rag.words import names_of

Ranking = Sequence[tuple[str, float]]
"""Chunk ids with what they scored, the best first."""
DEPTH = 200
"""Candidates of each ranking: the worst of them is the zero of its scores."""
OF_PROSE, OF_NAMES = 0.45, 0.7
"""What the words decide in a question of plain words, and in one that holds a name: an id, a flag, a file."""


def weight_of(query: str) -> float:
    """How much of the score is the words'; the rest is the meaning's. Embeddings blur names."""
    return OF_PROSE if next(names_of(query), None) is None else OF_NAMES


def fuse(lexical: Ranking, dense: Ranking, weight: float = OF_PROSE) -> list[tuple[str, float]]:
    """One ranking of all candidates, 0 to 1. What a ranking does not hold counts there as its worst does."""
    by_words, by_meaning = _scaled(lexical), _scaled(dense)
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
