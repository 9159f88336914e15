"""Models: what they were made of, how good they are, whom they serve, and the way back.

The names are loaded when they are asked for: a list of models needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gtftd.registry.artifacts import ArtifactStore
    from gtftd.registry.bead_face import BeadFace
    from gtftd.registry.jobs import JobRequest
    from gtftd.registry.reading import Wanted
    from gtftd.registry.registry import Registry
    from gtftd.registry.rows import FOLDER
    from gtftd.registry.service import Models
    from gtftd.registry.signing import Keys

__all__ = ["FOLDER", "ArtifactStore", "BeadFace", "JobRequest", "Keys", "Models", "Registry", "Wanted"]
_WHERE = {
    "ArtifactStore": "artifacts", "BeadFace": "bead_face", "FOLDER": "rows", "JobRequest": "jobs",
    "Keys": "signing", "Models": "service", "Registry": "registry", "Wanted": "reading",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
