"""What a search needs of every chunk, in memory: whose it is, how new, and its vector.

Slots are given out in blocks, each of one rig and one collection: a search reads the blocks that may be seen and
no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gtftd.schemas.rag import Collection, SearchQuery

Floats: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
_Share: TypeAlias = tuple[str | None, Collection]
BLOCK = 128


@dataclass(frozen=True, slots=True)
class Row:
    """A chunk, without its text."""

    id: str
    document: str
    collection: Collection
    rig: str | None
    roles: tuple[str, ...]
    updated_at: datetime
    ordinal: int = 0

    @property
    def share(self) -> _Share:
        return self.rig, self.collection


class Matrix:
    """Rows in slots that are used again; not thread-safe: the index holds a lock around it."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._rows: list[Row | None] = []
        self._of_document: dict[str, set[int]] = {}
        self._blocks: dict[_Share, list[int]] = {}
        self._free: dict[_Share, list[int]] = {}
        self._alive: Mask = np.zeros(0, np.bool_)
        self._has: Mask = np.zeros(0, np.bool_)
        self._vectors: Floats = np.zeros((0, 0), np.float32)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def with_vector(self) -> int:
        return int(self._has.sum())

    def put(self, row: Row) -> None:
        """Add a row without a vector, or replace what is known of one that keeps its vector: all but its share."""
        slot = self._slots.get(row.id)
        if slot is None:
            slot = self._take_slot(row.share)
            self._slots[row.id] = slot
            self._of_document.setdefault(row.document, set()).add(slot)
            self._alive[slot] = True
        self._rows[slot] = row

    def remove(self, chunk: str) -> None:
        slot = self._slots.pop(chunk, None)
        row = None if slot is None else self._rows[slot]
        if slot is None or row is None:
            return
        mates = self._of_document[row.document]
        mates.discard(slot)
        if not mates:
            del self._of_document[row.document]
        self._rows[slot] = None
        self._alive[slot] = self._has[slot] = False
        self._vectors[slot] = 0
        self._free[row.share].append(slot)

    def clear(self) -> None:
        """As new."""
        self.__dict__.update(Matrix().__dict__)

    def row(self, chunk: str) -> Row | None:
        slot = self._slots.get(chunk)
        return None if slot is None else self._rows[slot]

    def of_document(self, document: str) -> list[Row]:
        rows = (self._rows[slot] for slot in self._of_document.get(document, ()))
        return [row for row in rows if row is not None]

    def needs_vector(self, chunk: str) -> bool:
        slot = self._slots.get(chunk)
        return slot is not None and not self._has[slot]

    def without_vector(self) -> list[Row]:
        return self._rows_at(self._alive & ~self._has)

    def having_vector(self, collection: Collection) -> list[str]:
        return [row.id for row in self._rows_at(self._has) if row.collection == collection]

    def set_vectors(self, ids: Sequence[str], vectors: Floats) -> list[str]:
        """Keep those whose chunk is still there; returns which."""
        if self._vectors.shape[1] != vectors.shape[1]:
            self._vectors = np.zeros((len(self._alive), vectors.shape[1]), np.float32)
            self._has[:] = False
        kept = [(self._slots[id_], at) for at, id_ in enumerate(ids) if id_ in self._slots]
        slots = [slot for slot, _ in kept]
        self._vectors[slots] = vectors[[at for _, at in kept]]
        self._has[slots] = True
        return [ids[at] for _, at in kept]

    def vectors(self, ids: Iterable[str]) -> tuple[list[str], Floats]:
        """Of those that have one."""
        slots = [(id_, self._slots[id_]) for id_ in ids if id_ in self._slots]
        found = [(id_, slot) for id_, slot in slots if self._has[slot]]
        return [id_ for id_, _ in found], self._vectors[[slot for _, slot in found]]

    def visible(self, query: SearchQuery) -> Mask:
        """The slots that the asker may see and asks for."""
        mask = np.zeros_like(self._alive)
        for share, blocks in self._blocks.items():
            if may_see(query, *share):
                for begin in blocks:
                    mask[begin : begin + BLOCK] = True
        mask &= self._alive
        if query.roles:
            wanted = set(query.roles)
            for slot in np.flatnonzero(mask):
                row = self._rows[slot]
                mask[slot] = row is not None and (not row.roles or not wanted.isdisjoint(row.roles))
        return mask

    def is_in(self, chunk: str, mask: Mask) -> bool:
        slot = self._slots.get(chunk)
        return slot is not None and bool(mask[slot])

    def nearest(self, vector: Floats, mask: Mask, limit: int) -> list[tuple[str, float]]:
        """Exact cosine over the masked rows that have a vector, best first."""
        mask = mask & self._has
        limit = min(limit, int(mask.sum()))
        if self._vectors.shape[1] != len(vector) or not limit:
            return []
        scores = np.full(len(mask), -2, np.float32)
        for begin, end in _runs(mask):
            scores[begin:end] = self._vectors[begin:end] @ vector
        scores[~mask] = -2
        best = np.argpartition(scores, len(scores) - limit)[len(scores) - limit :]
        best = best[np.lexsort((best, -scores[best]))]
        return [(row.id, float(scores[slot])) for slot in best if (row := self._rows[slot]) is not None]

    def _rows_at(self, mask: Mask) -> list[Row]:
        return [row for slot in np.flatnonzero(mask) if (row := self._rows[slot]) is not None]

    def _take_slot(self, share: _Share) -> int:
        free = self._free.setdefault(share, [])
        if not free:
            begin = len(self._rows)
            self._rows += [None] * BLOCK
            if len(self._rows) > len(self._alive):
                self._grow()
            self._blocks.setdefault(share, []).append(begin)
            free += reversed(range(begin, begin + BLOCK))
        return free.pop()

    def _grow(self) -> None:
        """Twice as large, so that a chunk's share of the copying stays small."""
        size = max(2 * len(self._alive), 8 * BLOCK)
        alive, has, vectors = self._alive, self._has, self._vectors
        self._alive, self._has = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        self._vectors = np.zeros((size, vectors.shape[1]), np.float32)
        self._alive[: len(alive)], self._has[: len(has)], self._vectors[: len(vectors)] = alive, has, vectors


def may_see(query: SearchQuery, rig: str | None, collection: Collection) -> bool:
    """The town's documents are everybody's, a rig's its own; the operator asks for everything."""
    is_theirs = query.everything or rig is None or rig == query.rig
    return is_theirs and (not query.collections or collection in query.collections)


def _runs(mask: Mask) -> Iterator[tuple[int, int]]:
    """From where to where blocks lie side by side in which anything is masked."""
    wanted = mask.reshape(-1, BLOCK).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False])).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        yield int(begin) * BLOCK, int(end) * BLOCK
