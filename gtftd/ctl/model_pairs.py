"""The preference pairs of a snapshot, as the records keep them: by whose contents, never the contents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.ctl.model_open import actor
from gtftd.ctl.target import Target

if TYPE_CHECKING:
    from gtftd.registry import Registry


def whole_id(target: Target, prefix: str) -> str:
    """Of a snapshot. Raises Missing: what is not there cannot be trained on."""
    from gtftd.corpus.snapshot import read_manifest

    return read_manifest(target.state_dir, prefix).id


def keep_pairs(registry: Registry, state_dir: Path, snapshot: str) -> int:
    """Once for each snapshot that is trained on; how many are new."""
    from gtftd.corpus.snapshot.preferences import preferences

    with registry.change(actor()) as changes:
        return changes.keep_preferences(preferences(state_dir, snapshot))
