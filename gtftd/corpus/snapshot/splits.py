"""Train, dev and test by bead and time: what was once given stays, in `splits.db`, which may not be deleted."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gtftd.corpus.snapshot.select import Node
from gtftd.errors import Corrupt
from gtftd.schemas.settings import SnapshotSettings
from gtftd.schemas.snapshots import Split

_SCHEMA = """
CREATE TABLE IF NOT EXISTS splits (work TEXT PRIMARY KEY, split TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID;
"""
_HELD_OUT: Mapping[Split, int] = {"train": 0, "dev": 1, "test": 2}


@dataclass(frozen=True)
class Given:
    """The split of an entry; `was` is another that the same work had before, when it is no longer that."""

    split: Split
    was: Split | None = None


@dataclass(frozen=True)
class Group:
    """Work that belongs together: beads connected through sessions."""

    key: str
    members: tuple[Node, ...]
    works: tuple[str, ...]
    """The beads and sessions in it: what a split is remembered by."""

    @property
    def at(self) -> float:
        return max(node.at for node in self.members)

    @property
    def part(self) -> tuple[str, str]:
        """Quotas count by rig and role, so that every rig and role is tested, and none bears on another."""
        rigs = [node.rig for node in self.members if node.rig is not None]
        return _most_common(rigs), _most_common([node.role for node in self.members])


def give_splits(
    nodes: Sequence[Node], before: Mapping[str, Split], settings: SnapshotSettings
) -> tuple[dict[str, Given], dict[str, Split]]:
    """The split of every entry, and what is to be remembered beyond `before`.

    A group that was given splits before keeps the most held-out of them. The newest of the others make up the test
    split to its share; of the rest a hash decides between dev and train.
    """
    hubs = hubs_of(nodes, settings.hub_beads)
    groups = groups_of(nodes, hubs)
    given: dict[str, Split] = {}
    parts: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        parts.setdefault(group.part, []).append(group)
    for _, inside in sorted(parts.items()):
        _give_part(inside, before, settings, given)
    entries: dict[str, Given] = {}
    new: dict[str, Split] = {}
    for group in groups:
        split = given[group.key]
        new |= {work: split for work in group.works if work not in before}
        for node in group.members:
            was: set[Split] = {before[work] for work in _works(node, hubs) if work in before} - {split}
            entries[node.entry_id] = Given(split, _least_held_out(was))
    return entries, new


def _give_part(
    groups: Sequence[Group], before: Mapping[str, Split], settings: SnapshotSettings, given: dict[str, Split]
) -> None:
    total = sum(len(group.members) for group in groups)
    room = settings.test_fraction * total
    fresh = []
    for group in sorted(groups, key=lambda group: (-group.at, group.key)):
        old = [before[work] for work in group.works if work in before]
        if not old:
            fresh.append(group)
            continue
        given[group.key] = max(old, key=_HELD_OUT.__getitem__)
        room -= len(group.members) if given[group.key] == "test" else 0
    for group in fresh:
        if 0 < len(group.members) <= room:
            given[group.key] = "test"
            room -= len(group.members)
        else:
            given[group.key] = "dev" if _share(group.key) < settings.dev_fraction else "train"


def _least_held_out(splits: set[Split]) -> Split | None:
    return next((split for split in _HELD_OUT if split in splits), None)


def hubs_of(nodes: Sequence[Node], hub_beads: int) -> set[str]:
    """Sessions that touched more beads than `hub_beads`: all the work of a rig passes through its refinery."""
    touched: dict[str, set[str]] = {}
    for node in nodes:
        if node.bead and node.session_id:
            touched.setdefault(node.session_id, set()).add(node.bead)
    return {session for session, beads in touched.items() if len(beads) > hub_beads}


def groups_of(nodes: Sequence[Node], hubs: set[str]) -> list[Group]:
    """Beads connected through sessions, `hubs` excepted: else all the work of a rig would be one group."""
    forest = _Forest()
    for node in nodes:
        works = _works(node, hubs)
        for work in works:
            forest.join(works[0], work)
    members: dict[str, list[Node]] = {}
    for node in nodes:
        members.setdefault(forest.root(_works(node, hubs)[0]), []).append(node)
    works_by_root: dict[str, list[str]] = {}
    for work in forest.parents:
        works_by_root.setdefault(forest.root(work), []).append(work)
    return [Group(min(works_by_root[root]), tuple(inside), tuple(sorted(works_by_root[root])))
            for root, inside in sorted(members.items())]  # fmt: skip


def works_of(node: Node) -> list[str]:
    """The bead and the session that an entry is about; itself when it is about neither."""
    works = [f"bead:{node.bead}"] if node.bead else []
    if node.session_id:
        works.append(f"session:{node.session_id}")
    return works or [f"entry:{node.entry_id}"]


def _works(node: Node, hubs: set[str]) -> list[str]:
    works = works_of(node)
    return works[:1] if node.bead and node.session_id in hubs else works


class _Forest:
    """Disjoint sets with path halving."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}

    def root(self, item: str) -> str:
        parents = self.parents
        parents.setdefault(item, item)
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    def join(self, a: str, b: str) -> None:
        a, b = self.root(a), self.root(b)
        if a != b:
            self.parents[max(a, b)] = min(a, b)


class SplitBook:
    """`splits.db`: which work was given which split, and since when. Every write is synced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Split]:
        try:
            with sqlite3.connect(self._path, timeout=10) as connection:
                connection.executescript(_SCHEMA)
                rows = connection.execute("SELECT work, split FROM splits").fetchall()
            connection.close()
        except sqlite3.DatabaseError as error:
            raise Corrupt(
                f"{self._path}: {error}; it holds what was kept for testing: restore it from a backup, or delete it "
                "and every model that is compared on the old test split"
            ) from error
        return dict(rows)

    def add(self, new: Mapping[str, Split], at: float) -> None:
        """What is there already stays as it is."""
        if not new:
            return
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                rows = [(work, split, at) for work, split in sorted(new.items())]
                connection.executemany("INSERT OR IGNORE INTO splits VALUES (?, ?, ?)", rows)
        finally:
            connection.close()


def _share(key: str) -> float:
    """Evenly between 0 and 1, the same for the same key everywhere."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def _most_common(names: Sequence[str]) -> str:
    if len(set(names)) <= 1:
        return names[0] if names else ""
    counted = Counter(names)
    return min(counted, key=lambda name: (-counted[name], name))
