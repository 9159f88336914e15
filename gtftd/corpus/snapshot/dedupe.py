"""Exact and near-duplicates of supervised text: the best labelled and newest of each stays."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import eq
from struct import Struct

from gtftd.corpus.snapshot.words import PERMUTATIONS

BANDS = 25
ROWS = 5
"""Two texts at J = 0.8 share none or only one of the 25 bands with probability 0.0006 (1 - 0.8^5 each)."""
LEAST_BANDS = 2
ALLOWANCE = 0.1
"""The estimate of J = 0.8 from 128 hashes has a deviation of 0.035: what is within three of them counts."""
_SPLIT = Struct(f"{ROWS * 4}s" * BANDS + f"{(PERMUTATIONS - ROWS * BANDS) * 4}x")
"""Cuts a sketch into its bands."""


@dataclass(frozen=True)
class Candidate:
    """One entry in the order of preference; only those of one `group` can be duplicates of each other."""

    entry_id: str
    group: str
    exact: str
    sketch: bytes


@dataclass(frozen=True)
class Duplicate:
    """`entry_id` is left out for `of`; `similarity` is 1.0 for an exact one."""

    entry_id: str
    of: str
    similarity: float

    @property
    def is_exact(self) -> bool:
        return self.similarity >= 1.0


def find_duplicates(candidates: Iterable[Candidate], threshold: float) -> list[Duplicate]:
    """Each candidate is compared with those before it that stay; the order decides which of two that is."""
    exact: dict[tuple[str, str], str] = {}
    near: dict[str, _Nearest] = {}
    found: list[Duplicate] = []
    for candidate in candidates:
        first = exact.setdefault((candidate.group, candidate.exact), candidate.entry_id)
        if first != candidate.entry_id:
            found.append(Duplicate(candidate.entry_id, first, 1.0))
            continue
        duplicate = near.setdefault(candidate.group, _Nearest(threshold)).add(candidate)
        if duplicate is not None:
            found.append(duplicate)
    return found


class _Nearest:
    """Locality-sensitive hashing over MinHash (Leskovec et al., Mining of Massive Datasets, 3.4)."""

    def __init__(self, threshold: float) -> None:
        self._least = threshold - ALLOWANCE if threshold < 1.0 else 1.0
        self._kept: list[Candidate] = []
        self._first: list[dict[bytes, int]] = [{} for _ in range(BANDS)]
        """For each band: who was the first to have it, by place in `_kept`."""
        self._later: list[dict[bytes, list[int]]] = [{} for _ in range(BANDS)]
        """And who came after: few, since most bands are had by one alone."""

    def add(self, candidate: Candidate) -> Duplicate | None:
        """What it is a duplicate of; else it stays, for others to be compared with."""
        keys = _SPLIT.unpack(candidate.sketch)
        firsts = list(map(dict.get, self._first, keys))
        if firsts.count(None) < BANDS:
            duplicate = self._nearest(candidate, keys, firsts)
            if duplicate is not None:
                return duplicate
        place = len(self._kept)
        deque(map(dict.setdefault, self._first, keys, repeat(place)), maxlen=0)
        for later, key, first in zip(self._later, keys, firsts, strict=True):
            if first is not None:
                later.setdefault(key, []).append(place)
        self._kept.append(candidate)
        return None

    def _nearest(self, candidate: Candidate, keys: Sequence[bytes], firsts: Sequence[int | None]) -> Duplicate | None:
        """The first of those that share enough bands with it and are like it."""
        shared = Counter(first for first in firsts if first is not None)
        shared.update(chain.from_iterable(
            later[key] for later, key, first in zip(self._later, keys, firsts, strict=True)
            if first is not None and key in later
        ))  # fmt: skip
        values = array("I", candidate.sketch)
        for place in sorted(place for place, bands in shared.items() if bands >= LEAST_BANDS):
            kept = self._kept[place]
            similarity = estimate(values, array("I", kept.sketch))
            if similarity >= self._least:
                return Duplicate(candidate.entry_id, kept.entry_id, min(similarity, 0.9999))
        return None


def estimate(a: Sequence[int], b: Sequence[int]) -> float:
    """Jaccard similarity from two sketches."""
    equal: int = sum(map(eq, a, b))
    return equal / PERMUTATIONS
