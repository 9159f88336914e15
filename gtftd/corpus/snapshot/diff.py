"""What changed from one snapshot to another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gtftd.corpus.snapshot.folder import Snapshot, open_snapshot
from gtftd.schemas.snapshots import Change, Item, SnapshotDiff

_GONE = "the corpus holds it no more, or not for this selection"
_COMPARED = ("sha256", "use", "label", "weight", "split", "scrubber", "source", "stale_turns")


def diff(state_dir: Path, a: str, b: str) -> SnapshotDiff:
    """`a` and `b`: ids, or beginnings of ids. Entries that left come with the reason that `b` gives."""
    before, after = open_snapshot(state_dir, a), open_snapshot(state_dir, b)
    old = {item.entry_id: _fields(item) for item in before.items()}
    new = {item.entry_id: _fields(item) for item in after.items()}
    reasons = _reasons(after, old.keys() - new.keys())
    both = sorted(old.keys() & new.keys())
    changed = tuple(_change(entry, old[entry], new[entry]) for entry in both if old[entry] != new[entry])
    return SnapshotDiff(
        a=before.manifest.id,
        b=after.manifest.id,
        added=tuple(Change(entry_id=entry, after=new[entry]) for entry in sorted(new.keys() - old.keys())),
        removed=tuple(
            Change(entry_id=entry, before=old[entry], why=reasons.get(entry, _GONE))
            for entry in sorted(old.keys() - new.keys())
        ),
        changed=changed,
        same=len(both) - len(changed),
    )  # fmt: skip


def _fields(item: Item) -> Mapping[str, str]:
    return {name: str(getattr(item, name)) for name in _COMPARED}


def _change(entry: str, old: Mapping[str, str], new: Mapping[str, str]) -> Change:
    names = [name for name in _COMPARED if old[name] != new[name]]
    return Change(entry_id=entry, before={n: old[n] for n in names}, after={n: new[n] for n in names})


def _reasons(snapshot: Snapshot, entries: set[str]) -> Mapping[str, str]:
    return {line.entry_id: f"{line.reason}: {line.why}" for line in snapshot.excluded() if line.entry_id in entries}
