"""The Merkle root that is a snapshot's id, and the manifest that is written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from gtftd.schemas.settings import SnapshotSettings
from gtftd.schemas.snapshots import FileSum, Item, Selection

BUILDER = "1"
"""To be raised when the same corpus and settings make other items."""
NAMED = ("items.jsonl", "pairs.jsonl", "unpaired.jsonl")
"""Files that bear on the id. `excluded.jsonl` does not: an entry that is out makes no other snapshot."""
_NOT_OF_CONTENT = frozenset({"workers", "eval_items"})


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """As in RFC 6962, 2.1: leaves and nodes are hashed apart, so that no leaf can pass for a node."""
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves] or [hashlib.sha256(b"").digest()]
    while len(level) > 1:
        paired = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = [*paired, level[-1]] if len(level) % 2 else paired
    return level[0]


def leaf_of(item: Item) -> bytes:
    """What of an item makes another snapshot when it changes."""
    return _line([item.entry_id, item.sha256, item.label, f"{item.weight:.4f}", item.scrubber, item.split])


def root_of(items: Iterable[Item]) -> str:
    return merkle_root([leaf_of(item) for item in sorted(items, key=lambda item: item.entry_id)]).hex()


def id_of(
    root: str,
    *,
    builder: str,
    selection: Selection,
    settings: str,
    conventions: str,
    evals: str,
    files: Mapping[str, FileSum],
) -> str:
    """The root over the items and one more leaf: how they came to be, and the files that were made of them."""
    about = _line({
        "builder": builder, "selection": selection.model_dump(mode="json"), "settings": settings,
        "conventions": conventions, "evals": evals, "files": {name: files[name].sha256 for name in NAMED},
    })  # fmt: skip
    return hashlib.sha256(b"\1" + bytes.fromhex(root) + hashlib.sha256(b"\0" + about).digest()).hexdigest()


def settings_digest(settings: SnapshotSettings) -> str:
    """Over the settings that bear on the content; not over paths, which differ between machines."""
    told = settings.model_dump(mode="json", exclude=set(_NOT_OF_CONTENT))
    return hashlib.sha256(_line(told)).hexdigest()


_LINES = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _line(value: object) -> bytes:
    return _LINES.encode(value).encode()
