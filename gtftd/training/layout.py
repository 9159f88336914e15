"""Which token sees which: rows, pairs and completions as one line of tokens for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gtftd.training.batches import Flags, Row, Tokens


@dataclass(frozen=True)
class Layout:
    """Sequences behind one another. None sees another, but for a prompt that all completions after it see."""

    tokens: Tokens
    """(length,)"""
    positions: Tokens
    """(length,): in the token's own sequence."""
    branches: Tokens
    """(length,): which sequence a token belongs to; it never falls."""
    previous: Tokens
    """(length,): where the token before it in its own sequence stands; -1 for none."""
    supervised: Flags
    """(length,)"""
    shares_prompt: bool = False
    """Branch 0 is a prompt that every other branch goes on from."""

    @property
    def is_plain(self) -> bool:
        """Each token sees all tokens before it."""
        last = int(self.branches[-1])
        return last == int(self.branches[0]) or (self.shares_prompt and last == 1)


def lay_row(row: Row) -> Layout:
    """A packed row; the token before the first of a segment is none of its sequence, and nothing asks for it."""
    before = np.arange(-1, len(row.tokens) - 1, dtype=np.int32)
    return Layout(
        tokens=row.tokens,
        positions=row.positions,
        branches=row.segments,
        previous=np.where(row.positions == 0, np.int32(-1), before),
        supervised=row.supervised,
    )


def lay_completions(prompt: Tokens, completions: Sequence[tuple[Tokens, Flags]]) -> Layout:
    """The prompt once, then its completions, each as if it stood alone behind the prompt.

    With one completion it is their plain concatenation; a pair costs the prompt once instead of twice.
    """
    start = len(prompt)
    parts = [prompt, *(tokens for tokens, _ in completions)]
    positions = [np.arange(start), *(np.arange(start, start + len(tokens)) for tokens, _ in completions)]
    flags = [np.zeros(start, np.bool_), *(supervised for _, supervised in completions)]
    branches = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    previous = np.arange(-1, len(branches) - 1)
    previous[np.concatenate(positions) == start] = start - 1
    return Layout(
        tokens=np.concatenate(parts).astype(np.int32),
        positions=np.concatenate(positions).astype(np.int32),
        branches=branches.astype(np.int32),
        previous=previous.astype(np.int32),
        supervised=np.concatenate(flags),
        shares_prompt=True,
    )
