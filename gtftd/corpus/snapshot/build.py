"""Builds a snapshot out of the corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gtftd.schemas.settings import SettingsModel
from gtftd.schemas.snapshots import Manifest

Progress = Callable[[str, int, int], None]
"""Told now and then: the stage, how much of it is done, of how much."""


def build_snapshot(
    state_dir: Path,
    settings: SettingsModel,
    *,
    role: str | None = None,
    rig: str | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """A second build of the same corpus with the same settings makes nothing new."""
    raise NotImplementedError
