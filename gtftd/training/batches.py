"""What the data side hands to the loop: rows of tokens in numpy. Nothing is shifted here; the loss does it, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One sequence, or several packed one behind the other: none of them sees another."""

    tokens: Tokens
    """(length,)"""
    positions: Tokens
    """(length,): from 0 in each segment."""
    segments: Tokens
    """(length,): 0, 1, ...; which sequence a token belongs to."""
    supervised: Flags
    """(length,): the model is to say this token. Never true for the first token of a segment."""
    examples: int
    """How many sequences it holds."""
    weights: tuple[float, ...] = ()
    """Of each of them in the mean over tokens; none: all the same."""

    @property
    def weight(self) -> float:
        """Of its supervised tokens together."""
        if not self.weights:
            return float(self.supervised.sum())
        return float(np.bincount(self.segments[self.supervised], minlength=self.examples) @ np.array(self.weights))


@dataclass(frozen=True)
class Pair:
    """One preference over a prompt that both completions share, (length,) each; completions end with an end of turn."""

    prompt: Tokens
    chosen: Tokens
    chosen_supervised: Flags
    rejected: Tokens
    rejected_supervised: Flags
    weight: float = 1.0


@dataclass(frozen=True)
class Completion:
    """One good or bad completion without a partner, for KTO."""

    prompt: Tokens
    completion: Tokens
    supervised: Flags
    good: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Cursor:
    """Where the data stands: enough to go on with exactly the next batch in another process."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Batch:
    """What one step of the optimizer sees; one of the three is filled, by the objective."""

    rows: tuple[Row, ...] = ()
    pairs: tuple[Pair, ...] = ()
    completions: tuple[Completion, ...] = ()

    @property
    def examples(self) -> int:
        return sum(row.examples for row in self.rows) + len(self.pairs) + len(self.completions)

    @property
    def supervised_tokens(self) -> int:
        rows = sum(int(row.supervised.sum()) for row in self.rows)
        pairs = sum(int(pair.chosen_supervised.sum() + pair.rejected_supervised.sum()) for pair in self.pairs)
        return rows + pairs + sum(int(one.supervised.sum()) for one in self.completions)


class Examples(Protocol):
    """The train or the held-out split of a snapshot, tokenised. The same order in every process, for one seed."""

    @property
    def batches_an_epoch(self) -> int: ...
    @property
    def count(self) -> int:
        """Examples in one epoch."""
        ...

    @property
    def longest_row(self) -> int:
        """The most tokens of one pass through the model, in any epoch: what memory is needed for."""
        ...

    def from_cursor(self, cursor: Cursor) -> Iterator[tuple[Batch, Cursor]]:
        """Batches without end, epoch after epoch, each with the cursor of the one that follows it."""
        ...

    def once(self) -> Iterator[Batch]:
        """Every example once, in a fixed order: for the held-out loss."""
        ...
