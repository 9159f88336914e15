"""The examples of one split: made once, kept on disk, and shown in an order that seed and epoch alone decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from gtftd.errors import Invalid
from gtftd.schemas.snapshots import Split
from gtftd.schemas.training import Objective
from gtftd.training.batches import Batch, Completion, Cursor, Flags, Pair, Tokens
from gtftd.training.encoding import Encoder
from gtftd.training.kept import Reader, Writer
from gtftd.training.order import Indices, generator, shuffled
from gtftd.training.packing import batched, pack, row_of
from gtftd.training.pairs import Judged, Preference, part
from gtftd.training.report import DataReport
from gtftd.training.windowing import Chat, Skipped, fit

Source = Chat | Preference | Judged
_PARTS: dict[Objective, int] = {"sft": 1, "dpo": 3, "kto": 2}
_EPOCHS_KNOWN = 2


@dataclass(frozen=True)
class Layout:
    """How sequences become batches."""

    objective: Objective
    most_tokens: int
    batch_examples: int
    packing: bool
    seed: int


@dataclass
class _Tally:
    entries: set[str] = field(default_factory=set)
    examples: int = 0
    tokens: int = 0
    supervised: int = 0
    longest: int = 0
    skipped: Skipped = field(default_factory=Counter)

    def add(self, sequences: Sequence[tuple[Tokens, Flags]]) -> None:
        size = sum(len(tokens) for tokens, _ in sequences)
        self.examples += 1
        self.tokens += size
        self.supervised += sum(int(flags.sum()) for _, flags in sequences)
        self.longest = max(self.longest, size)


class KeptExamples:
    """`gtftd.training.batches.Examples` over a cache of tokens.

    A batch of chats is whole rows with at least `batch_examples` sequences in them (exactly so many without packing),
    of pairs and judged completions exactly so many; the last batch of an epoch may have fewer.
    """

    def __init__(self, kept: Reader, layout: Layout) -> None:
        self._kept = kept
        self._layout = layout
        self._plan = lru_cache(maxsize=_EPOCHS_KNOWN)(self._planned)

    @property
    def report(self) -> DataReport:
        """With the rows of the first epoch."""
        if self._layout.objective != "sft" or not self.count:
            return self._kept.report
        rows = sum(len(batch) for batch in self._plan(0))
        filled = self._kept.report.tokens / (rows * self._layout.most_tokens)
        return self._kept.report.model_copy(update={"rows": rows, "filled": round(filled, 4)})

    @property
    def batches_an_epoch(self) -> int:
        """Of the first epoch; packing may give later ones a few more or less."""
        return len(self._plan(0))

    @property
    def count(self) -> int:
        return len(self._kept)

    def from_cursor(self, cursor: Cursor) -> Iterator[tuple[Batch, Cursor]]:
        """Raises Invalid when there is nothing to learn from, or the cursor is of other data."""
        if not self.count:
            raise Invalid(f"split {self._kept.report.split} of {self._kept.report.snapshot[:16]} has no examples")
        if cursor.batch > len(self._plan(cursor.epoch)):
            raise Invalid(f"epoch {cursor.epoch} has no batch {cursor.batch}: the checkpoint is of other data")
        return self._without_end(cursor)

    def once(self) -> Iterator[Batch]:
        return (self._batch(rows) for rows in self._in_batches(np.arange(self.count), None))

    def _without_end(self, cursor: Cursor) -> Iterator[tuple[Batch, Cursor]]:
        epoch, at = cursor.epoch, cursor.batch
        while True:
            plan = self._plan(epoch)
            for number in range(at, len(plan)):
                is_last = number + 1 == len(plan)
                yield self._batch(plan[number]), Cursor(epoch + 1, 0) if is_last else Cursor(epoch, number + 1)
            epoch, at = epoch + 1, 0

    def _planned(self, epoch: int) -> list[list[Indices]]:
        random = generator(self._layout.seed, epoch)
        return self._in_batches(shuffled(self.count, random), random)

    def _in_batches(self, order: Indices, random: np.random.Generator | None) -> list[list[Indices]]:
        layout = self._layout
        is_packed = layout.packing and layout.objective == "sft"
        rows = (
            pack(self._kept.lengths, order, layout.most_tokens, random)
            if is_packed
            else [order[i : i + 1] for i in range(len(order))]
        )
        return list(batched(rows, layout.batch_examples))

    def _batch(self, rows: Sequence[Indices]) -> Batch:
        if self._layout.objective == "sft":
            return Batch(rows=tuple(row_of([self._kept.sequences(int(i))[0] for i in row]) for row in rows))
        examples = [int(index) for row in rows for index in row]
        if self._layout.objective == "dpo":
            return Batch(pairs=tuple(map(self._pair, examples)))
        return Batch(completions=tuple(map(self._completion, examples)))

    def _pair(self, example: int) -> Pair:
        (prompt, _), chosen, rejected = self._kept.sequences(example)
        return Pair(prompt, *chosen, *rejected, weight=self._kept.weight(example))

    def _completion(self, example: int) -> Completion:
        (prompt, _), completion = self._kept.sequences(example)
        return Completion(prompt, *completion, good=self._kept.good(example), weight=self._kept.weight(example))


def keep(
    sources: Iterable[Source], encoder: Encoder, layout: Layout, folder: Path, key: str, *, snapshot: str, split: Split
) -> Reader:
    """Tokenise what the snapshot gives, one entry at a time, into `folder`.

    Raises Invalid when nothing in the train split would be learned; NoSpace on a full disk, and nothing is left then.
    """
    tally = _Tally()
    with Writer(folder, key, _PARTS[layout.objective]) as writer:
        for source in sources:
            tally.entries |= set(_entries(source))
            for sequences, weight, good in _made(source, encoder, layout.most_tokens, tally.skipped):
                tally.add(sequences)
                writer.add(sequences, weight, good)
        report = _told(tally, snapshot, split)
        if split == "train" and not report.supervised_tokens:
            raise Invalid(f"nothing in snapshot {snapshot} would be learned by {layout.objective}: {report.told}")
        writer.commit(report)
    found = Reader.open(folder, key)
    if found is None:
        raise Invalid(f"{folder} is not what was written to it a moment ago; check the disk")
    return found


def _made(
    source: Source, encoder: Encoder, most_tokens: int, skipped: Skipped
) -> Iterator[tuple[list[tuple[Tokens, Flags]], float, bool]]:
    if isinstance(source, Chat):
        for one in fit(source.turns, encoder, most_tokens, skipped):
            yield [(one.tokens, one.supervised)], source.weight, True
        return
    sides = (source.completion,) if isinstance(source, Judged) else (source.chosen, source.rejected)
    made = part(source.prompt, sides, encoder, most_tokens, skipped)
    if made is not None:
        prompt = (made.prompt, np.zeros(len(made.prompt), np.bool_))
        good = source.good if isinstance(source, Judged) else True
        yield [prompt, *((side.tokens, side.supervised) for side in made.sides)], source.weight, good


def _entries(source: Source) -> tuple[str, ...]:
    return source.entry_ids if isinstance(source, Preference) else (source.entry_id,)


def _told(tally: _Tally, snapshot: str, split: Split) -> DataReport:
    return DataReport(
        snapshot=snapshot,
        split=split,
        entries=len(tally.entries),
        examples=tally.examples,
        tokens=tally.tokens,
        supervised_tokens=tally.supervised,
        longest_tokens=tally.longest,
        skipped={reason: count for reason, count in sorted(tally.skipped.items()) if count},
    )
