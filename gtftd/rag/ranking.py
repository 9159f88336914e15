"""The order of what was found: named first, then by words and meaning together, newer before older, nothing twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from gtftd.rag.fusion import OF_PROSE, fuse
from gtftd.rag.matrix import Floats, Row
from gtftd.schemas.rag import Scores

PER_DOCUMENT = 3
PER_NAMED = 3
"""Chunks of a document that the query names which come before all others."""
SAME = 0.97
"""Cosine from which two chunks say the same."""
NEWER = 0.03
"""What text of today has before text of long ago, as a share of its score."""
HALF_LIFE_S = 180 * 86400.0


@dataclass(frozen=True, slots=True)
class Candidate:
    row: Row
    score: float
    exact: bool
    fused: float
    freshness: float


def candidates(
    rows: Mapping[str, Row],
    lexical: Sequence[tuple[str, float]],
    dense: Sequence[tuple[str, float]],
    named: Collection[str],
    now: datetime,
    *,
    is_bare: bool = False,
    weight: float = OF_PROSE,
    waiting: Collection[str] = (),
) -> list[Candidate]:
    """All that was found, best first. `rows`: what the asker may see; `named`: the documents that the query names;
    `is_bare`: it says nothing else, so they are told from their beginning; `weight`: what the words decide;
    `waiting`: chunks that have no vector yet.
    """
    fused = dict(fuse([(id_, score) for id_, score in lexical if id_ in rows], dense, weight, waiting))
    first = _first_of(named, {} if is_bare else fused, rows)
    found = []
    for id_, row in rows.items():
        fresh = freshness((now - row.updated_at).total_seconds())
        summed = fused.get(id_, 0.0)
        found.append(Candidate(row, summed * fresh, id_ in first, summed, fresh))
    found.sort(key=lambda one: (not one.exact, 0 if one.exact and is_bare else -one.score, one.row.ordinal, one.row.id))
    return found


class Explainer:
    """Says of a hit why it stands where it stands."""

    def __init__(self, lexical: Sequence[tuple[str, float]], dense: Sequence[tuple[str, float]]) -> None:
        self._lexical = {id_: (place, score) for place, (id_, score) in enumerate(lexical, 1)}
        self._dense = {id_: (place, score) for place, (id_, score) in enumerate(dense, 1)}

    def scores(self, one: Candidate) -> Scores:
        place, bm25 = self._lexical.get(one.row.id, (None, None))
        rank, cosine = self._dense.get(one.row.id, (None, None))
        return Scores(
            exact=one.exact,
            lexical=bm25,
            lexical_rank=place,
            dense=cosine,
            dense_rank=rank,
            fused=one.fused,
            freshness=one.freshness,
        )


def freshness(age_s: float) -> float:
    """1 for what is new, and never less than 1 - NEWER: enough to decide between equals."""
    return 1 - NEWER * (1 - math.exp2(-max(age_s, 0.0) / HALF_LIFE_S))


def diverse(found: Iterable[Candidate], vectors: Mapping[str, Floats], limit: int) -> list[Candidate]:
    """The first ones, without more than a few of a document and without what says the same as a better one."""
    taken: list[Candidate] = []
    of_document: Counter[str] = Counter()
    said: list[Floats] = []
    for one in found:
        if of_document[one.row.document] >= PER_DOCUMENT:
            continue
        vector = vectors.get(one.row.id)
        if vector is not None:
            if said and not one.exact and float(np.max(np.stack(said) @ vector)) > SAME:
                continue
            said.append(vector)
        of_document[one.row.document] += 1
        taken.append(one)
        if len(taken) == limit:
            break
    return taken


def _first_of(named: Collection[str], fused: Mapping[str, float], rows: Mapping[str, Row]) -> set[str]:
    """The best chunks of each document that was named; those that scored nothing in the order of the document."""
    first: set[str] = set()
    for document in named:
        theirs = [id_ for id_, row in rows.items() if row.document == document]
        theirs.sort(key=lambda id_: (-fused.get(id_, 0.0), rows[id_].ordinal))
        first.update(theirs[:PER_NAMED])
    return first
