"""Whether a snapshot is what its id says."""

from __future__ import annotations

from pathlib import Path

from gtftd.schemas.snapshots import Verification


def verify(state_dir: Path, id_prefix: str) -> Verification:
    """Every sum computed again: manifest, files, Merkle root, contents, texts."""
    raise NotImplementedError
