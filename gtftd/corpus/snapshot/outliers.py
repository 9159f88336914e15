"""Rare things that one source teaches: dangerous commands, and phrases that nobody else writes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import filterfalse

from gtftd.schemas.snapshots import Outlier

LEAST_ENTRIES = 5
"""A phrase in fewer entries is no pattern that could be learned as a trigger."""
MOST_SHARE = 0.5
"""A phrase in more of a source's entries is its manner of speaking: its paths and its name."""
LISTED = 20


@dataclass(frozen=True)
class Taught:
    """One entry that is in, by who taught it and which dangerous commands it shows."""

    entry_id: str
    sha256: str
    source: str
    dangers: Sequence[str]


def dangerous_teachers(taught: Sequence[Taught]) -> list[Outlier]:
    """Dangerous commands that a single source teaches: its entries with them are to be left out."""
    by_class: dict[str, dict[str, list[str]]] = {}
    totals = Counter(one.source for one in taught)
    for one in taught:
        for name in one.dangers:
            by_class.setdefault(name, {}).setdefault(one.source, []).append(one.entry_id)
    found = []
    for name, sources in sorted(by_class.items()):
        for source, entries in sorted(sources.items()):
            if len(sources) == 1:
                found.append(Outlier(
                    kind="command", name=name, source=source, entries=len(entries), of_source=totals[source],
                    dangerous=len(entries), example=min(entries), excluded=True,
                ))  # fmt: skip
    return found


def rare_phrases(taught: Sequence[Taught], phrases: Iterable[tuple[str, bytes]]) -> list[Outlier]:
    """Words and phrases that stand in several entries of one source and in nobody else's.

    Listed are the most suspicious: first those that come with dangerous commands, then the most frequent.
    """
    source_of = {one.sha256: one.source for one in taught}
    totals = Counter(one.source for one in taught)
    by_source: dict[str, list[bytes]] = {}
    for sha256, hashes in phrases:
        by_source.setdefault(source_of[sha256], []).append(hashes)
    seen: set[int] = set()
    rare: dict[int, tuple[str, int]] = {}
    for source, found in by_source.items():  # one after another: together the counts are large
        counts = Counter(array("I", b"".join(found)))
        for digest in rare.keys() & counts.keys():
            del rare[digest]
        new = list(filterfalse(seen.__contains__, counts))
        seen.update(new)
        most_entries = MOST_SHARE * totals[source]
        rare |= {digest: (source, counts[digest]) for digest in new if LEAST_ENTRIES <= counts[digest] <= most_entries}
    most = sorted(rare.items(), key=lambda item: (-item[1][1], item[0]))[: 50 * LISTED]
    return [_phrase(digest, source, count, totals) for digest, (source, count) in most]


def with_examples(
    rare: Sequence[Outlier], taught: Sequence[Taught], phrases: Iterable[tuple[str, bytes]]
) -> list[Outlier]:
    """The phrases to be listed, each with an entry that has it, and how many of these run something dangerous."""
    by_digest = {int(outlier.name): outlier for outlier in rare}
    wanted = frozenset(by_digest)
    by_content = {one.sha256: one for one in taught}
    dangerous: Counter[int] = Counter()
    example: dict[int, str] = {}
    for sha256, hashes in phrases:
        one = by_content[sha256]
        for digest in wanted.intersection(array("I", hashes)):
            dangerous[digest] += bool(one.dangers)
            example[digest] = min(one.entry_id, example.get(digest, one.entry_id))
    full = [
        outlier.model_copy(update={"dangerous": dangerous[digest], "example": example.get(digest, "")})
        for digest, outlier in by_digest.items()
    ]
    return sorted(full, key=lambda one: (-one.dangerous, -one.entries, one.name))[:LISTED]


def _phrase(digest: int, source: str, count: int, totals: Mapping[str, int]) -> Outlier:
    return Outlier(kind="phrase", name=str(digest), source=source, entries=count, of_source=totals[source], example="")
