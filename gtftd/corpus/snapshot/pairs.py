"""Preferences: the same bead with different outcomes, and turns that somebody corrected. The rest is unpaired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gtftd.corpus.snapshot.features import Features
from gtftd.schemas.snapshots import Item, Pair, PairKind, Range, Unpaired


@dataclass(frozen=True)
class Source:
    """An item with what was measured of it."""

    item: Item
    features: Features


def make_pairs(sources: Sequence[Source], most: int) -> list[Pair]:
    """Each entry is in at most `most` pairs: those within it first, then the newest good with the newest bad."""
    used: Counter[str] = Counter()
    found: list[Pair] = []
    for source in sources:
        for pair in _within(source):
            if used[source.item.entry_id] < most:
                used[source.item.entry_id] += 1
                found.append(pair)
    by_bead: dict[str, list[Source]] = {}
    for source in sources:
        if source.item.bead:
            by_bead.setdefault(source.item.bead, []).append(source)
    for bead in sorted(by_bead):
        found += _across(by_bead[bead], used, most)
    return found


def make_unpaired(sources: Sequence[Source], pairs: Sequence[Pair]) -> list[Unpaired]:
    """Whole entries that are in no pair across entries; and turns, good for nothing else, that are to be avoided."""
    paired = {
        side.entry_id for pair in pairs if pair.chosen.entry_id != pair.rejected.entry_id
        for side in (pair.chosen, pair.rejected)
    }  # fmt: skip
    taken = {(pair.rejected.entry_id, pair.rejected.start) for pair in pairs}
    found: list[Unpaired] = []
    for source in sources:
        if source.item.entry_id not in paired and _speaks(source):
            found.append(_whole(source))
        found += [turn for turn in _bad_turns(source) if (turn.completion.entry_id, turn.completion.start) not in taken]
    return found


def _within(source: Source) -> Iterator[Pair]:
    for correction in source.features.corrections:
        if correction.chosen in source.item.stale_turns:
            continue
        yield Pair(
            kind=correction.kind,
            bead=source.item.bead,
            split=source.item.split,
            prompt=_range(source, 0, correction.rejected),
            chosen=_range(source, correction.chosen, correction.chosen + 1),
            rejected=_range(source, correction.rejected, correction.rejected + 1),
            weight=source.item.weight,
            why=f"the agent was {_TOLD[correction.kind]} after message {correction.rejected} and went on differently",
        )


_TOLD: Mapping[str, str] = {"nudged": "nudged", "interrupted": "interrupted", "estopped": "stopped by an e-stop"}


def _across(sources: Sequence[Source], used: Counter[str], most: int) -> Iterator[Pair]:
    """The newest first; split and label come with the items."""
    ordered = sorted(sources, key=lambda source: (-source.item.at, source.item.entry_id))
    good = [source for source in ordered if source.item.use == "sft" and _speaks(source)]
    bad = [source for source in ordered if source.item.use == "bad" and _speaks(source)]
    for better in good:
        for worse in bad:
            if used[better.item.entry_id] < most and used[worse.item.entry_id] < most:
                used[better.item.entry_id] += 1
                used[worse.item.entry_id] += 1
                yield _between(better, worse)


def _between(better: Source, worse: Source) -> Pair:
    fixed = worse.item.label == "rejected" and worse.item.at <= better.item.at
    kind: PairKind = "rejected_then_fixed" if fixed else "resling"
    return Pair(
        kind=kind,
        bead=better.item.bead,
        split=better.item.split,
        prompt=_range(better, 0, better.features.first_own),
        chosen=_range(better, better.features.first_own, better.features.messages),
        rejected=_range(worse, worse.features.first_own, worse.features.messages),
        weight=min(better.item.weight, worse.item.weight),
        why=f"the same bead: {worse.item.entry_id} was {worse.item.label}, {better.item.entry_id} {better.item.label}",
    )


def _whole(source: Source) -> Unpaired:
    own = source.features.first_own
    return Unpaired(
        label="good" if source.item.use == "sft" else "bad",
        split=source.item.split,
        prompt=_range(source, 0, own),
        completion=_range(source, own, source.features.messages),
        weight=source.item.weight,
        why=f"{source.item.label}, and no other session of the same bead ended differently",
    )


def _bad_turns(source: Source) -> Iterator[Unpaired]:
    """Turns that run a command which is gone, or that broke a rule: how it is not to be done."""
    reasons = dict.fromkeys(source.features.violations, "breaks a convention of the town")
    stale = (*source.item.stale_turns, *source.features.masked_stale)
    reasons |= dict.fromkeys(stale, "runs a command that today's conventions left behind")
    for turn, why in sorted(reasons.items()):
        yield Unpaired(
            label="bad",
            split=source.item.split,
            prompt=_range(source, 0, turn),
            completion=_range(source, turn, turn + 1),
            weight=source.item.weight,
            why=f"message {turn} {why}",
        )


def _speaks(source: Source) -> bool:
    """An entry to follow must have something that is learned; one to avoid only something that was done."""
    if source.item.use == "sft":
        return source.item.supervised_chars > 0
    return source.features.first_own < source.features.messages


def _range(source: Source, start: int, stop: int) -> Range:
    return Range(entry_id=source.item.entry_id, sha256=source.item.sha256, start=start, stop=stop)
