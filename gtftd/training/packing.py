"""Which examples share a row: first fit decreasing (Johnson 1973), among those of one step of the optimizer.

So a step has exactly the examples that the settings say, whether they are packed or not, and an epoch as many steps.
Among more examples rows would be fuller, and steps of unequal size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gtftd.training.batches import Flags, Row, Tokens
from gtftd.training.order import Indices


def pack(lengths: Indices, examples: Indices, most_tokens: int) -> list[Indices]:
    """Rows of at most `most_tokens`, each the examples in it; every one of `examples` is in one."""
    room = np.full(len(examples), most_tokens, np.int64)
    rows: list[list[int]] = []
    for example in examples[np.argsort(-lengths[examples], kind="stable")]:
        row = int(np.argmax(room >= lengths[example]))
        if row == len(rows):
            rows.append([])
        rows[row].append(int(example))
        room[row] -= lengths[example]
    return [np.array(row, np.int64) for row in rows]


def row_of(sequences: Sequence[tuple[Tokens, Flags]], weights: Sequence[float] = ()) -> Row:
    """The sequences one behind the other, each with positions from 0."""
    lengths = [len(tokens) for tokens, _ in sequences]
    return Row(
        tokens=np.concatenate([tokens for tokens, _ in sequences]),
        positions=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        segments=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        supervised=np.concatenate([supervised for _, supervised in sequences]),
        examples=len(lengths),
        weights=() if all(weight == 1 for weight in weights) else tuple(weights),
    )
