"""What a run will learn from, for the operator and for `spec.json`'s plan."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from gtftd.schemas.event import Frozen
from gtftd.schemas.snapshots import Split


class DataReport(Frozen):
    """One split of a snapshot, tokenised."""

    snapshot: str
    split: Split
    entries: int
    examples: int
    tokens: int
    supervised_tokens: int
    longest_tokens: int = 0
    skipped: Mapping[str, int] = Field(default_factory=dict)
    """What is not learned, by reason (`gtftd.training.windowing.Skip`)."""
    rows: int = 0
    """Of chats, in the first epoch; later ones differ by a few where they are packed."""
    filled: float = 0.0
    """How much of these rows is tokens: 1.0 when each is as long as it may be."""

    @property
    def told(self) -> str:
        """One sentence, for a person."""
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()))
        return (
            f"{self.examples} examples of {self.entries} entries in split {self.split}: {self.tokens} tokens, "
            f"{self.supervised_tokens} of them supervised; skipped: {left or 'nothing'}"
        )
