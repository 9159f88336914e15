"""The preference pairs of a snapshot as the records keep them: by whose contents, never the contents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from gtftd.corpus.snapshot.folder import open_snapshot
from gtftd.schemas.event import event_id
from gtftd.schemas.registry import Preference


def preferences(state_dir: Path, snapshot: str) -> Iterator[Preference]:
    """The same pair has the same id, in whichever snapshot it stands first. Raises as `open_snapshot` for training."""
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
