"""Takes contents out of every snapshot, and marks these."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from gtftd.corpus.snapshot.cache import forget
from gtftd.corpus.snapshot.folder import (
    CONTENT_SUFFIX,
    TAINTED,
    TEXT_SUFFIX,
    Snapshot,
    all_snapshots,
    locked,
    objects_folder,
    read_taint,
    snapshots_folder,
)
from gtftd.errors import Corrupt
from gtftd.logs import get_logger
from gtftd.schemas.snapshots import Taint
from gtftd.state.crash import crash_point
from gtftd.state.files import content_path, fsync_folder, write_atomic

log = get_logger("corpus")
FEATURES = "features.db"


def taint(state_dir: Path, sha256s: Collection[str], reason: str) -> list[str]:
    """Removes contents and texts from `snapshots/objects`; returns the ids of the snapshots that held one.

    The marks come first: a kill between leaves a snapshot that readers refuse, and a second call ends the work.
    Waits for a builder that is at work, so that what it links now is found.
    """
    gone = frozenset(sha256s)
    if not gone or not snapshots_folder(state_dir).is_dir():
        return []
    with locked(state_dir):
        found = [snapshot for snapshot in all_snapshots(state_dir) if _holds(snapshot, gone)]
        for snapshot in found:
            _mark(snapshot, gone, reason)
        crash_point("taint.marked")
        _remove(objects_folder(state_dir), gone)
        forget(snapshots_folder(state_dir) / FEATURES, gone)
    if found:
        log.warning("snapshot.tainted", snapshots=len(found), contents=len(gone), reason=reason)
    return [snapshot.manifest.id for snapshot in found]


def _holds(snapshot: Snapshot, gone: frozenset[str]) -> bool:
    try:
        return any(item.sha256 in gone or not gone.isdisjoint(item.texts) for item in snapshot.items())
    except Corrupt:
        return True  # nobody knows what it held


def _mark(snapshot: Snapshot, gone: frozenset[str], reason: str) -> None:
    before = read_taint(snapshot.folder) if snapshot.is_tainted else None
    contents = gone | frozenset(before.contents if before else ())
    mark = Taint(at=before.at if before else time.time(), reason=reason, contents=tuple(sorted(contents)))
    if mark != before:
        write_atomic(snapshot.folder / TAINTED, mark.model_dump_json().encode())


def _remove(objects: Path, gone: frozenset[str]) -> None:
    for digest in sorted(gone):
        for suffix in (CONTENT_SUFFIX, TEXT_SUFFIX):
            path = content_path(objects, digest, suffix=suffix)
            if path.exists():
                path.unlink(missing_ok=True)
                fsync_folder(path.parent)
