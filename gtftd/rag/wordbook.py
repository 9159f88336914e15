"""The word index, for several threads: they take turns, and what was put before a search began is found by it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from gtftd.rag.lexical import Lexical
from gtftd.rag.stored import StoredChunk
from gtftd.schemas.rag import SearchQuery


class Wordbook:
    """In memory alone: it is read from the texts at every start."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._lexical = Lexical()

    def clear(self) -> None:
        with self._turn:
            self._lexical.clear()

    def change(self, put: Sequence[StoredChunk], removed: Iterable[str]) -> None:
        """Take out and put in; a search sees all of it or nothing."""
        with self._turn:
            self._lexical.remove(removed)
            self._lexical.put(put)

    def search(self, query: SearchQuery, limit: int) -> list[tuple[str, float]]:
        """Chunks that the asker may see, with their BM25, best first."""
        with self._turn:
            self._lexical.commit()
            return self._lexical.search(
                query.text, rig=query.rig, everything=query.everything, collections=query.collections, limit=limit
            )
