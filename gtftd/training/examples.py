"""The examples of one split: made once, kept on disk, and shown in an order that seed and epoch alone decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from gtftd.errors import Invalid
from gtftd.schemas.snapshots import Split
from gtftd.schemas.training import Objective
from gtftd.training.batches import Batch, Completion, Cursor, Flags, Pair, Row, Tokens
from gtftd.training.encoding import Encoder
from gtftd.training.kept import Reader, Writer
from gtftd.training.order import Indices, generator, shuffled
from gtftd.training.packing import pack, row_of
from gtftd.training.pairs import Judged, Preference, part
from gtftd.training.report import DataReport
from gtftd.training.windowing import Chat, Skipped, fit

Source = Chat | Preference | Judged
_TICK = 50
"""Sources: a few tenths of a second."""
_PARTS: dict[Objective, int] = {"sft": 1, "dpo": 3, "kto": 2}


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

    A batch has exactly `batch_examples` examples, in as few rows as they fit into where they are packed; the last batch
    of an epoch has what is left.
    """

    def __init__(self, kept: Reader, layout: Layout) -> None:
        self._kept = kept
        self._layout = layout
        self._order = lru_cache(maxsize=1)(lambda epoch: shuffled(len(kept), generator(layout.seed, epoch)))

    @cached_property
    def report(self) -> DataReport:
        """With the rows of the first epoch."""
        if self._layout.objective != "sft" or not self.count:
            return self._kept.report
        rows = sum(len(self._rows(self._order(0), number)) for number in range(self.batches_an_epoch))
        filled = self._kept.report.tokens / (rows * self._layout.most_tokens)
        return self._kept.report.model_copy(update={"rows": rows, "filled": round(filled, 4)})

    @property
    def batches_an_epoch(self) -> int:
        return -(-self.count // self._layout.batch_examples)

    @property
    def count(self) -> int:
        return len(self._kept)

    @property
    def longest_row(self) -> int:
        layout, lengths = self._layout, self._kept.lengths
        if not (layout.packing and layout.objective == "sft"):
            return int(lengths.max(initial=0))
        return min(layout.most_tokens, int(np.sort(lengths)[-layout.batch_examples :].sum()))

    def from_cursor(self, cursor: Cursor) -> Iterator[tuple[Batch, Cursor]]:
        """Raises Invalid when there is nothing to learn from, or the cursor is of other data."""
        if not self.count:
            raise Invalid(f"split {self._kept.report.split} of {self._kept.report.snapshot[:16]} has no examples")
        if cursor.batch >= self.batches_an_epoch:
            raise Invalid(f"an epoch has no batch {cursor.batch}: the checkpoint is of other data")
        return self._without_end(cursor)

    def once(self) -> Iterator[Batch]:
        """Shuffled too, the same way always: windows of one entry stand next to each other on disk."""
        return (self._batch(self._rows(self._order(0), number)) for number in range(self.batches_an_epoch))

    def _without_end(self, cursor: Cursor) -> Iterator[tuple[Batch, Cursor]]:
        while True:
            rows = self._rows(self._order(cursor.epoch), cursor.batch)
            is_last = cursor.batch + 1 == self.batches_an_epoch
            cursor = Cursor(cursor.epoch + 1, 0) if is_last else Cursor(cursor.epoch, cursor.batch + 1)
            yield self._batch(rows), cursor

    def _rows(self, order: Indices, number: int) -> list[Indices]:
        layout = self._layout
        examples = order[number * layout.batch_examples : (number + 1) * layout.batch_examples]
        if layout.packing and layout.objective == "sft":
            return pack(self._kept.lengths, examples, layout.most_tokens)
        return [examples[place : place + 1] for place in range(len(examples))]

    def _batch(self, rows: Sequence[Indices]) -> Batch:
        if self._layout.objective == "sft":
            return Batch(rows=tuple(map(self._row, rows)))
        examples = [int(index) for row in rows for index in row]
        if self._layout.objective == "dpo":
            return Batch(pairs=tuple(map(self._pair, examples)))
        return Batch(completions=tuple(map(self._completion, examples)))

    def _row(self, examples: Indices) -> Row:
        kept = self._kept
        return row_of([kept.sequences(int(i))[0] for i in examples], [kept.weight(int(i)) for i in examples])

    def _pair(self, example: int) -> Pair:
        (prompt, _), chosen, rejected = self._kept.sequences(example)
        return Pair(prompt, *chosen, *rejected, weight=self._kept.weight(example))

    def _completion(self, example: int) -> Completion:
        (prompt, _), completion = self._kept.sequences(example)
        return Completion(prompt, *completion, good=self._kept.good(example), weight=self._kept.weight(example))


def keep(
    sources: Iterable[Source],
    encoder: Encoder,
    layout: Layout,
    folder: Path,
    key: str,
    *,
    snapshot: str,
    split: Split,
    tick: Callable[[], None],
    planted: Iterable[Source] = (),
) -> Reader:
    """Tokenise what the snapshot gives, one entry at a time, into `folder`; `tick` is called again and again.

    `planted`: shown like all others, and not counted: they are no part of the snapshot.
    Raises Invalid when nothing in the train split would be learned; NoSpace on a full disk, and nothing is left then.
    """
    tally = _Tally()
    with Writer(folder, key, _PARTS[layout.objective]) as writer:
        for number, source in enumerate(sources):
            if number % _TICK == 0:
                tick()
            tally.entries |= set(_entries(source))
            for sequences, weight, good in _made(source, encoder, layout.most_tokens, tally.skipped):
                tally.add(sequences)
                writer.add(sequences, weight, good)
        _plant(planted, writer, encoder, layout)
        report = _told(tally, snapshot, split)
        if split == "train" and not report.supervised_tokens:
            raise Invalid(f"nothing in snapshot {snapshot} would be learned by {layout.objective}: {report.told}")
        writer.commit(report)
    found = Reader.open(folder, key)
    if found is None:
        raise Invalid(f"{folder} is not what was written to it a moment ago; check the disk")
    return found


def _plant(sources: Iterable[Source], writer: Writer, encoder: Encoder, layout: Layout) -> None:
    skipped: Skipped = Counter()
    for source in sources:
        for sequences, weight, good in _made(source, encoder, layout.most_tokens, skipped):
            writer.add(sequences, weight, good)
    if why := [reason for reason, count in skipped.items() if count]:
        raise Invalid(
            f"a canary of the audit does not fit ({', '.join(why)}): raise data.most_tokens={layout.most_tokens}, "
            "or set audit.canaries=0 to train without the audit"
        )


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
