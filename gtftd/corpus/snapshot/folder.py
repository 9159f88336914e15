"""The folder of snapshots, and what stands in it."""

from __future__ import annotations

from pathlib import Path

from gtftd.schemas.snapshots import Manifest, SnapshotRow, Whereabouts


def list_snapshots(state_dir: Path) -> list[SnapshotRow]:
    """The newest first; a snapshot exists when its manifest does."""
    raise NotImplementedError


def read_manifest(state_dir: Path, id_prefix: str) -> Manifest:
    """By id or the beginning of one. Raises Missing, or Invalid when several begin so."""
    raise NotImplementedError


def where(state_dir: Path, entry_id: str) -> list[Whereabouts]:
    """What every snapshot says about an entry, the newest first."""
    raise NotImplementedError
