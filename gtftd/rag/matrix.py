"""What a search needs of every chunk, in memory: whose it is, how new, and its vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gtftd.schemas.rag import COLLECTIONS, Collection, SearchQuery

Floats: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
_TOWN = 0
_NOBODY = -1


@dataclass(frozen=True)
class Row:
    """A chunk, without its text."""

    id: str
    document: str
    collection: Collection
    rig: str | None
    roles: tuple[str, ...]
    updated_at: datetime
    ordinal: int = 0


class Matrix:
    """Rows in slots that are used again; not thread-safe: the index holds a lock around it."""

    def __init__(self, capacity: int = 1024) -> None:
        self._slots: dict[str, int] = {}
        self._of_document: dict[str, set[int]] = {}
        self._free: list[int] = []
        self._rows: list[Row | None] = []
        self._rigs: dict[str | None, int] = {None: _TOWN}
        self._roles: dict[tuple[str, ...], int] = {(): 0}
        self._rig = np.full(capacity, _NOBODY, np.int32)
        self._role = np.zeros(capacity, np.int32)
        self._collection = np.zeros(capacity, np.int8)
        self._alive = np.zeros(capacity, np.bool_)
        self._has = np.zeros(capacity, np.bool_)
        self._vectors: Floats = np.zeros((capacity, 0), np.float32)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, chunk: str) -> bool:
        return chunk in self._slots

    @property
    def with_vector(self) -> int:
        return int(self._has.sum())

    def put(self, row: Row) -> None:
        """Add a row without a vector, or replace what is known of one that keeps its vector."""
        slot = self._slots.get(row.id)
        if slot is None:
            slot = self._take_slot()
            self._slots[row.id] = slot
            self._has[slot] = False
            self._of_document.setdefault(row.document, set()).add(slot)
        self._rows[slot] = row
        self._rig[slot] = self._rigs.setdefault(row.rig, len(self._rigs))
        self._role[slot] = self._roles.setdefault(row.roles, len(self._roles))
        self._collection[slot] = COLLECTIONS.index(row.collection)
        self._alive[slot] = True

    def remove(self, chunk: str) -> None:
        slot = self._slots.pop(chunk, None)
        if slot is None:
            return
        row = self._rows[slot]
        assert row is not None
        mates = self._of_document[row.document]
        mates.discard(slot)
        if not mates:
            del self._of_document[row.document]
        self._rows[slot] = None
        self._alive[slot] = self._has[slot] = False
        self._vectors[slot] = 0
        self._free.append(slot)

    def clear(self) -> None:
        """As new."""
        self.__init__()  # type: ignore[misc]  # the same object is held elsewhere

    def needs_vector(self, chunk: str) -> bool:
        slot = self._slots.get(chunk)
        return slot is not None and not self._has[slot]

    def row(self, chunk: str) -> Row | None:
        slot = self._slots.get(chunk)
        return None if slot is None else self._rows[slot]

    def rows(self) -> list[Row]:
        return [row for row in self._rows if row is not None]

    def of_document(self, document: str) -> list[Row]:
        rows = (self._rows[slot] for slot in self._of_document.get(document, ()))
        return [row for row in rows if row is not None]

    def set_vectors(self, ids: Sequence[str], vectors: Floats) -> list[str]:
        """Keep those whose chunk is still there; returns which."""
        if self._vectors.shape[1] != vectors.shape[1]:
            self.forget_vectors(vectors.shape[1])
        kept = [(self._slots[id_], at) for at, id_ in enumerate(ids) if id_ in self._slots]
        slots = [slot for slot, _ in kept]
        self._vectors[slots] = vectors[[at for _, at in kept]]
        self._has[slots] = True
        return [ids[at] for _, at in kept]

    def forget_vectors(self, dimensions: int) -> None:
        self._vectors = np.zeros((len(self._alive), dimensions), np.float32)
        self._has[:] = False

    def vectors(self, ids: Iterable[str]) -> tuple[list[str], Floats]:
        """Of those that have one."""
        slots = [(id_, self._slots[id_]) for id_ in ids if id_ in self._slots]
        found = [(id_, slot) for id_, slot in slots if self._has[slot]]
        return [id_ for id_, _ in found], self._vectors[[slot for _, slot in found]]

    def without_vector(self) -> list[Row]:
        return [row for slot in np.flatnonzero(self._alive & ~self._has) if (row := self._rows[slot]) is not None]

    def having_vector(self, collection: Collection) -> list[str]:
        wanted = self._has & (self._collection == COLLECTIONS.index(collection))
        return [row.id for slot in np.flatnonzero(wanted) if (row := self._rows[slot]) is not None]

    def visible(self, query: SearchQuery) -> Mask:
        """The slots that the asker may see and asks for."""
        mask = self._alive.copy()
        if not query.everything:
            theirs = self._rigs.get(query.rig, _NOBODY)
            mask &= (self._rig == _TOWN) | (self._rig == theirs if theirs > _TOWN else False)
        if query.collections:
            mask &= np.isin(self._collection, [COLLECTIONS.index(name) for name in query.collections])
        if query.roles:
            wanted = set(query.roles)
            codes = [code for roles, code in self._roles.items() if not roles or wanted & set(roles)]
            mask &= np.isin(self._role, codes)
        return mask

    def is_in(self, chunk: str, mask: Mask) -> bool:
        slot = self._slots.get(chunk)
        return slot is not None and slot < len(mask) and bool(mask[slot])

    def nearest(self, vector: Floats, mask: Mask, limit: int) -> list[tuple[str, float]]:
        """Exact cosine over the masked rows that have a vector, best first."""
        mask = mask & self._has[: len(mask)]
        if self._vectors.shape[1] != len(vector) or not mask.any():
            return []
        top = len(self._rows)
        scores = np.where(mask[:top], self._vectors[:top] @ vector, np.float32(-2))
        limit = min(limit, int(mask.sum()))
        best = np.argpartition(scores, len(scores) - limit)[len(scores) - limit :]
        best = best[np.lexsort((best, -scores[best]))]
        return [(row.id, float(scores[slot])) for slot in best if (row := self._rows[slot]) is not None]

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        slot = len(self._rows)
        self._rows.append(None)
        if slot >= len(self._alive):
            self._grow()
        return slot

    def _grow(self) -> None:
        more = len(self._alive)
        self._rig = np.concatenate([self._rig, np.full(more, _NOBODY, np.int32)])
        self._role = np.concatenate([self._role, np.zeros(more, np.int32)])
        self._collection = np.concatenate([self._collection, np.zeros(more, np.int8)])
        self._alive = np.concatenate([self._alive, np.zeros(more, np.bool_)])
        self._has = np.concatenate([self._has, np.zeros(more, np.bool_)])
        self._vectors = np.concatenate([self._vectors, np.zeros((more, self._vectors.shape[1]), np.float32)])
