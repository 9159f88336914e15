"""The preference pairs of a snapshot, as the records keep them: by whose contents, never the contents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.ctl.model_open import actor
from gtftd.ctl.target import Target

if TYPE_CHECKING:
    from gtftd.registry import Registry
    from gtftd.schemas.registry import Preference


def whole_id(target: Target, prefix: str) -> str:
    """Of a snapshot. Raises Missing: what is not there cannot be trained on."""
    from gtftd.corpus.snapshot import read_manifest

    return read_manifest(target.state_dir, prefix).id


def keep_pairs(registry: Registry, state_dir: Path, snapshot: str) -> int:
    """Once for each snapshot that is trained on; how many are new."""
    with registry.change(actor()) as changes:
        return changes.keep_preferences(_pairs(state_dir, snapshot))


def _pairs(state_dir: Path, snapshot: str) -> Iterator[Preference]:
    from gtftd.corpus.snapshot.folder import open_snapshot
    from gtftd.schemas.event import event_id
    from gtftd.schemas.registry import Preference

    found = open_snapshot(state_dir, snapshot, for_training=True)
    at = datetime.fromtimestamp(found.manifest.created_at, UTC)
    roles = {item.entry_id: (item.role, item.rig) for item in found.items()}
    for pair in found.pairs():
        role, rig = roles.get(pair.chosen.entry_id, ("unknown", None))
        chosen, rejected = pair.chosen, pair.rejected
        yield Preference(
            id=event_id("preference", chosen.model_dump_json(), rejected.model_dump_json()),
            kind=pair.kind,
            role=role,
            rig=rig,
            bead=pair.bead,
            snapshot=found.manifest.id,
            chosen_sha256=chosen.sha256,
            rejected_sha256=rejected.sha256,
            weight=pair.weight,
            why=pair.why,
            created_at=at,
        )
