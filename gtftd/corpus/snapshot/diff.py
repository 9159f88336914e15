"""What changed from one snapshot to another."""

from __future__ import annotations

from pathlib import Path

from gtftd.schemas.snapshots import SnapshotDiff


def diff(state_dir: Path, a: str, b: str) -> SnapshotDiff:
    """`a` and `b`: ids, or beginnings of ids."""
    raise NotImplementedError
