"""One search: by words, by meaning, by name; what may not be seen is left out before anything is ranked."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from gtftd.rag.fusion import DEPTH, weight_of
from gtftd.rag.matrix import Floats, Matrix, Row
from gtftd.rag.names import Names
from gtftd.rag.ranking import Candidate, Explainer, candidates, diverse
from gtftd.rag.stored import StoredChunk
from gtftd.rag.texts import Texts
from gtftd.rag.wordbook import Wordbook
from gtftd.rag.words import names_of
from gtftd.schemas.rag import Hit, SearchQuery, SearchResult

if TYPE_CHECKING:
    from gtftd.rag.embedding import Embedder

REMEMBERED = 256
"""Queries whose vectors are kept."""
NAMED = 20
"""Most documents that one query can name."""


class Search:
    """What is in memory, asked; the texts of the few that win are read last."""

    def __init__(self, matrix: Matrix, names: Names, words: Wordbook, lock: threading.Lock) -> None:
        """`lock` guards matrix and names."""
        self._matrix = matrix
        self._names = names
        self._words = words
        self._lock = lock
        self._asked: OrderedDict[tuple[str, str], Floats] = OrderedDict()

    def search(self, query: SearchQuery, texts: Texts, embedder: Embedder | None, now: datetime) -> SearchResult:
        watch = _Watch()
        vector = self._embed(query.text, embedder) if embedder else None
        watch.lap("embed")
        wanted = max(DEPTH, 5 * query.limit)
        lexical = self._words.search(query, wanted)
        watch.lap("lexical")
        found = self._look(query, vector, lexical, wanted)
        watch.lap("dense")
        is_bare = set(query.text.lower().split()) <= set(names_of(query.text))
        weight = weight_of(query.text)
        waiting = found.rows.keys() - found.vectors.keys() if vector is not None else ()
        ordered = candidates(
            found.rows, lexical, found.dense, found.named, now, is_bare=is_bare, weight=weight, waiting=waiting
        )
        best = diverse(ordered, found.vectors, query.limit)
        stored = texts.chunks(one.row.id for one in best)
        explainer = Explainer(lexical, found.dense) if query.explain else Explainer((), ())
        hits = tuple(_hit(one, stored[one.row.id], explainer) for one in best if one.row.id in stored)
        watch.lap("rank")
        return SearchResult(hits=hits, searched=found.searched, dense=vector is not None, took_ms=watch.took_ms)

    def _embed(self, text: str, embedder: Embedder) -> Floats:
        key = (embedder.model_id, text)
        known = self._asked.get(key)
        if known is None:
            known = np.asarray(embedder.embed_query(text), np.float32)
            with self._lock:
                self._asked[key] = known
                while len(self._asked) > REMEMBERED:
                    self._asked.popitem(last=False)
        return known

    def _look(
        self, query: SearchQuery, vector: Floats | None, lexical: Sequence[tuple[str, float]], wanted: int
    ) -> _Found:
        with self._lock:
            mask = self._matrix.visible(query)
            dense = self._matrix.nearest(vector, mask, wanted) if vector is not None else []
            named = self._names.named_in(query.text)[:NAMED]
            ids = [id_ for id_, _ in lexical] + [id_ for id_, _ in dense]
            ids += [row.id for document in named for row in self._matrix.of_document(document)]
            visible = {id_ for id_ in ids if self._matrix.is_in(id_, mask)}
            rows = {id_: row for id_ in visible if (row := self._matrix.row(id_)) is not None}
            there, vectors = self._matrix.vectors(rows)
        return _Found(rows, dense, frozenset(named), dict(zip(there, vectors, strict=True)), int(mask.sum()))


@dataclass(frozen=True)
class _Found:
    """What memory told, copied under the lock."""

    rows: dict[str, Row]
    dense: list[tuple[str, float]]
    named: frozenset[str]
    vectors: dict[str, Floats]
    searched: int


class _Watch:
    """Milliseconds from lap to lap."""

    def __init__(self) -> None:
        self.took_ms: dict[str, float] = {}
        self._at = time.perf_counter()

    def lap(self, name: str) -> None:
        at = time.perf_counter()
        self.took_ms[name] = round((at - self._at) * 1000, 3)
        self._at = at


def _hit(one: Candidate, chunk: StoredChunk, explainer: Explainer) -> Hit:
    return Hit(
        chunk=chunk.id,
        document=chunk.document,
        collection=chunk.collection,
        rig=chunk.rig,
        title=chunk.title,
        heading=chunk.heading,
        text=chunk.text,
        updated_at=chunk.updated_at,
        score=one.score,
        scores=explainer.scores(one),
    )
