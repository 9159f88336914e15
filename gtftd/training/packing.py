"""Which examples share a row: first fit decreasing (Johnson 1973), within chunks of the shuffled epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gtftd.training.batches import Flags, Row, Tokens
from gtftd.training.order import Indices, shuffled

CHUNK = 512
"""Examples that are packed together: more fill rows better, fewer stay nearer to the shuffled order."""


def pack(lengths: Indices, order: Indices, most_tokens: int, random: np.random.Generator | None) -> list[Indices]:
    """Rows of at most `most_tokens`, each the examples in it; every example of `order` is in one.

    `random` shuffles the rows of a chunk, which are by falling length otherwise.
    """
    rows: list[Indices] = []
    for start in range(0, len(order), CHUNK):
        found = _first_fit(lengths, order[start : start + CHUNK], most_tokens)
        places = range(len(found)) if random is None else shuffled(len(found), random)
        rows += [found[place] for place in places]
    return rows


def _first_fit(lengths: Indices, chunk: Indices, most_tokens: int) -> list[Indices]:
    room = np.full(len(chunk), most_tokens, np.int64)
    rows: list[list[int]] = []
    for example in chunk[np.argsort(-lengths[chunk], kind="stable")]:
        fits = room >= lengths[example]
        row = int(np.argmax(fits))
        if row == len(rows):
            rows.append([])
        rows[row].append(int(example))
        room[row] -= lengths[example]
    return [np.array(row, np.int64) for row in rows]


def batched(rows: Sequence[Indices], batch_examples: int) -> Iterator[list[Indices]]:
    """Whole rows, until there are at least so many examples in them; the last batch of an epoch may have fewer."""
    batch: list[Indices] = []
    held = 0
    for row in rows:
        batch.append(row)
        held += len(row)
        if held >= batch_examples:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def row_of(sequences: Sequence[tuple[Tokens, Flags]]) -> Row:
    """The sequences one behind the other, each with positions from 0."""
    lengths = [len(tokens) for tokens, _ in sequences]
    return Row(
        tokens=np.concatenate([tokens for tokens, _ in sequences]),
        positions=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        segments=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        supervised=np.concatenate([supervised for _, supervised in sequences]),
        examples=len(lengths),
    )
