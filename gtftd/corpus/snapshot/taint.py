"""Takes contents out of every snapshot, and marks these."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def taint(state_dir: Path, sha256s: Collection[str], reason: str) -> list[str]:
    """Removes contents and texts from `snapshots/objects`; returns the ids of the snapshots that held one."""
    raise NotImplementedError
