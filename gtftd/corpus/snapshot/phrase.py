"""The words of a rare phrase, which a manifest only names by its hash: text stays in the contents."""

from __future__ import annotations

from pathlib import Path

from gtftd.corpus.snapshot.features import said_and_asked
from gtftd.corpus.snapshot.folder import objects_folder, open_snapshot
from gtftd.corpus.snapshot.objects import read_entry
from gtftd.corpus.snapshot.words import phrase_of
from gtftd.schemas.snapshots import Outlier


def phrase_text(state_dir: Path, id_prefix: str, outlier: Outlier) -> str | None:
    """For the terminal of who asked; None for a command, and when the example is gone."""
    if outlier.kind != "phrase":
        return None
    snapshot = open_snapshot(state_dir, id_prefix, for_training=True)
    item = next((item for item in snapshot.items() if item.entry_id == outlier.example), None)
    if item is None:
        return None
    said, asked = said_and_asked(read_entry(objects_folder(state_dir), item.sha256))
    return phrase_of(int(outlier.name), [*said, *asked])
