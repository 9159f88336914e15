"""Which of the gathered entries are in, at which weight and in which split; pure, the same for the same input."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gtftd.corpus.snapshot import caps
from gtftd.corpus.snapshot.conventions import retired_for, stale_turns
from gtftd.corpus.snapshot.dedupe import Candidate, find_duplicates
from gtftd.corpus.snapshot.features import Features
from gtftd.corpus.snapshot.gather import Gathered, Taken, exclude
from gtftd.corpus.snapshot.outliers import Taught, dangerous_teachers, rare_phrases, with_examples
from gtftd.corpus.snapshot.select import Row
from gtftd.corpus.snapshot.sources import is_own, new_sources, source_of
from gtftd.corpus.snapshot.splits import Given
from gtftd.corpus.snapshot.weights import weigh
from gtftd.schemas.settings import SnapshotSettings
from gtftd.schemas.snapshots import Excluded, Gate, Item, Outlier

_RANK = ("merged", "completed", "escalated", "deferred")
Phrases = Callable[[Collection[str]], Iterator[tuple[str, bytes]]]


@dataclass
class Choice:
    """What is in, sorted by entry id, and why the rest is out."""

    items: list[Item] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    outliers: list[Outlier] = field(default_factory=list)
    unmet: list[Gate] = field(default_factory=list)
    newest_at: float = 0.0


def choose(gathered: Gathered, splits: Mapping[str, Given], settings: SnapshotSettings, phrases: Phrases) -> Choice:
    """Contaminated entries go first, then duplicates, dangerous teachers, moved splits, and last what caps demand."""
    choice = Choice(excluded=list(gathered.excluded))
    choice.newest_at = max((taken.row.at for taken in gathered.taken), default=0.0)
    measured = {taken.row.entry_id: gathered.measured[taken.row.sha256].features for taken in gathered.taken}
    taken = _without_contaminated(gathered, choice)
    taken = _without_silent(taken, measured, gathered, choice)
    taken = _without_duplicates(taken, gathered, settings, choice)
    taken = _without_dangerous(taken, measured, choice)
    taken = _without_moved(taken, splits, choice)
    new = new_sources((one.row for one in gathered.taken), choice.newest_at, settings.new_source_days)
    items = [_item(one, measured[one.row.entry_id], gathered, splits, settings, choice.newest_at) for one in taken]
    choice.items = sorted(_within_caps(items, new, settings, choice), key=lambda item: item.entry_id)
    taught = _taught(choice.items, measured)
    contents = {one.sha256 for one in taught}
    rare = rare_phrases(taught, phrases(contents))
    choice.outliers += with_examples(rare, taught, phrases(contents)) if rare else []
    choice.excluded.sort(key=lambda line: line.entry_id)
    return choice


def cap_for(new: set[str], settings: SnapshotSettings) -> Callable[[str], float]:
    """The cap of a source: less while it is new."""
    return lambda source: min(settings.source_cap, settings.new_source_cap) if source in new else settings.source_cap


def _without_contaminated(gathered: Gathered, choice: Choice) -> list[Taken]:
    kept = []
    for taken in gathered.taken:
        items = [item for digest in (taken.row.sha256, *taken.texts) for item in gathered.compared.get(digest, ())]
        bead = gathered.index.beads.get((taken.row.bead or "").lower())
        if bead is not None:
            _leave(choice, taken, "contaminated", f"its bead {taken.row.bead} stands in eval item {bead}")
        elif items:
            _leave(choice, taken, "contaminated", f"holds words of eval item {', '.join(dict.fromkeys(items))}")
        else:
            kept.append(taken)
    return kept


def _without_silent(
    taken: Sequence[Taken], measured: Mapping[str, Features], gathered: Gathered, choice: Choice
) -> list[Taken]:
    """An entry to follow must have something to learn, or a turn that shows how it is not to be done."""
    kept = []
    for one in taken:
        features = measured[one.row.entry_id]
        speaks = features.first_own < features.messages if one.use == "bad" else bool(features.turns)
        if speaks or features.masked_stale or _stale(one.row, features, gathered):
            kept.append(one)
        else:
            _leave(choice, one, "nothing_supervised", "no turn of it may be learned")
    return kept


def _without_duplicates(
    taken: Sequence[Taken], gathered: Gathered, settings: SnapshotSettings, choice: Choice
) -> list[Taken]:
    by_id = {one.row.entry_id: one for one in taken}
    candidates = (
        Candidate(one.row.entry_id, one.use, found.features.exact, found.sketch)
        for one in sorted(taken, key=_preference)
        if (found := gathered.measured[one.row.sha256]).features.turns
    )
    for duplicate in find_duplicates(candidates, settings.near_duplicate):
        one = by_id.pop(duplicate.entry_id)
        if duplicate.is_exact:
            _leave(choice, one, "duplicate", f"says the same as {duplicate.of}, which is better labelled or newer")
        else:
            why = (
                f"says nearly the same as {duplicate.of} (J about {duplicate.similarity:.2f}), better labelled or newer"
            )
            _leave(choice, one, "near_duplicate", why)
    return list(by_id.values())


def _preference(taken: Taken) -> tuple[object, ...]:
    row = taken.row
    rank = _RANK.index(row.outcome) if row.outcome in _RANK else len(_RANK)
    return (row.kind != "curated", rank, -row.confidence, -row.at, row.entry_id)


def _without_dangerous(taken: Sequence[Taken], measured: Mapping[str, Features], choice: Choice) -> list[Taken]:
    taught = [
        Taught(one.row.entry_id, one.row.sha256, source_of(one.row), tuple(measured[one.row.entry_id].dangers))
        for one in taken
        if one.use == "sft"
    ]
    choice.outliers += dangerous_teachers(taught)
    barred = {(outlier.source, outlier.name) for outlier in choice.outliers}
    why_of = {
        one.entry_id: name
        for one in taught
        for name in sorted(one.dangers, reverse=True)
        if (one.source, name) in barred
    }
    for one in taken:
        if one.row.entry_id in why_of and one.use == "sft":
            name = why_of[one.row.entry_id]
            _leave(choice, one, "outlier", f"runs a dangerous command ({name}) that no other source teaches")
    return [one for one in taken if one.use != "sft" or one.row.entry_id not in why_of]


def _without_moved(taken: Sequence[Taken], splits: Mapping[str, Given], choice: Choice) -> list[Taken]:
    kept = []
    for one in taken:
        given = splits.get(one.row.entry_id)
        if given is None:
            _leave(choice, one, "unreadable", "it was stored while the snapshot was built; the next one has it")
        elif given.was is not None:
            why = f"its work was in {given.was} before other work connected it with {given.split}"
            _leave(choice, one, "split_changed", why)
        else:
            kept.append(one)
    return kept


def _item(
    one: Taken,
    features: Features,
    gathered: Gathered,
    splits: Mapping[str, Given],
    settings: SnapshotSettings,
    newest_at: float,
) -> Item:
    row = one.row
    stale = _stale(row, features, gathered)
    own = is_own(row, settings.own_agents)
    touched = sorted({*stale, *features.masked_stale}) if one.use == "sft" else []
    weight, factors = weigh(row, settings, newest_at=newest_at, stale=touched, own=own)
    return Item.model_validate({
        "entry_id": row.entry_id, "sha256": row.sha256, "use": one.use, "role": row.role, "rig": row.rig,
        "bead": row.bead, "session_id": row.session_id, "task": row.task, "label": row.outcome,
        "confidence": row.confidence, "weight": weight, "split": splits[row.entry_id].split,
        "source": source_of(row), "own_model": own, "scrubber": row.scrubber,
        "supervised_chars": features.supervised_chars(stale), "supervised_tokens": features.supervised_tokens(stale),
        "windows": features.windows if features.supervised_chars(stale) else 0, "stale_turns": stale,
        "texts": one.texts, "at": row.at, "why": f"{one.why}; weight: {factors}",
    })  # fmt: skip


def _stale(row: Row, features: Features, gathered: Gathered) -> tuple[int, ...]:
    return stale_turns(features.commands, retired_for(gathered.retired, row.rig))


def _within_caps(items: Sequence[Item], new: set[str], settings: SnapshotSettings, choice: Choice) -> list[Item]:
    """Caps hold where it counts: over the supervised tokens of the train split."""
    parts = [
        caps.Part(item.entry_id, item.source, item.own_model, item.supervised_tokens, item.confidence, item.at)
        for item in items
        if item.use == "sft" and item.split == "train"
    ]
    out: dict[str, tuple[str, str]] = {}
    while True:
        before = len(out)
        own = caps.cap_own_models([part for part in parts if part.entry_id not in out], settings.own_model_cap)
        out |= {entry_id: ("own_model_cap", why) for entry_id, why in own.out.items()}
        sources = caps.cap_sources([part for part in parts if part.entry_id not in out], cap_for(new, settings))
        out |= {entry_id: ("source_cap", why) for entry_id, why in sources.out.items()}
        if len(out) == before:
            break
    choice.unmet += [Gate(gate="own_model_cap", why=why) for why in own.unmet]
    choice.unmet += [Gate(gate="source_cap", why=why) for why in sources.unmet]
    for item in items:
        if item.entry_id in out:
            reason, why = out[item.entry_id]
            choice.excluded.append(
                Excluded.model_validate(
                    {"entry_id": item.entry_id, "sha256": item.sha256, "reason": reason, "why": why}
                )
            )
    return [item for item in items if item.entry_id not in out]


def _taught(items: Sequence[Item], measured: Mapping[str, Features]) -> list[Taught]:
    return [
        Taught(item.entry_id, item.sha256, item.source, tuple(measured[item.entry_id].dangers))
        for item in items
        if item.use == "sft"
    ]


def _leave(choice: Choice, taken: Taken, reason: str, why: str) -> None:
    choice.excluded.append(exclude(taken.row, reason, why))
