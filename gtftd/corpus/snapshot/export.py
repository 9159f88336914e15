"""A snapshot as the rows that trainers read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from gtftd.schemas.snapshots import Split

Format = Literal["chat", "pairs", "kto"]
Row = Mapping[str, object]


def export(state_dir: Path, snapshot: str, format: Format, *, split: Split | None = "train") -> Iterator[Row]:
    """One row at a time, ready for `json.dumps`; `split=None` takes all. Raises Refused for a tainted snapshot."""
    raise NotImplementedError
