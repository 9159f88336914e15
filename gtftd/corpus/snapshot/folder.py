"""The folder of snapshots, and what stands in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gtftd.corpus.snapshot.select import may_hold, read_row
from gtftd.errors import Busy, Corrupt, Invalid, Missing, Refused
from gtftd.logs import get_logger
from gtftd.schemas.snapshots import Excluded, Item, Manifest, Pair, SnapshotRow, Taint, Unpaired, Whereabouts
from gtftd.state.database import open_reader

log = get_logger("corpus")
MANIFEST = "manifest.json"
TAINTED = "tainted.json"
BUILDING = ".building-"
CONTENT_SUFFIX = ".json"
TEXT_SUFFIX = ".txt"
LOCK_WAIT_S = 120.0
Line = TypeVar("Line", bound=BaseModel)


@dataclass(frozen=True)
class Snapshot:
    """One snapshot on disk. Lines are read one at a time: the files may be large."""

    folder: Path
    manifest: Manifest

    def items(self) -> Iterator[Item]:
        return self._lines("items.jsonl", Item)

    def pairs(self) -> Iterator[Pair]:
        return self._lines("pairs.jsonl", Pair)

    def unpaired(self) -> Iterator[Unpaired]:
        return self._lines("unpaired.jsonl", Unpaired)

    def excluded(self) -> Iterator[Excluded]:
        return self._lines("excluded.jsonl", Excluded)

    @property
    def is_tainted(self) -> bool:
        return (self.folder / TAINTED).exists()

    def _lines(self, name: str, model: type[Line]) -> Iterator[Line]:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                for line in file:
                    yield model.model_validate_json(line)
        except (FileNotFoundError, ValidationError) as error:
            raise Corrupt(f"{path} is not what the builder wrote; delete the snapshot and build it again") from error


def snapshots_folder(state_dir: Path) -> Path:
    return state_dir / "snapshots"


def objects_folder(state_dir: Path) -> Path:
    """Contents and texts of all snapshots: hard links, so that what the corpus forgets stays here."""
    return snapshots_folder(state_dir) / "objects"


def open_snapshot(state_dir: Path, id_prefix: str, *, for_training: bool = False) -> Snapshot:
    """By id or the beginning of one. Raises Missing, Invalid when several begin so, and, `for_training`, Refused
    when the snapshot is tainted.
    """
    found = sorted(path for path in _folders(state_dir) if path.name.startswith(id_prefix)) if id_prefix else []
    if not found:
        raise Missing(f"no snapshot begins with {id_prefix!r}; `gtftctl corpus snapshots` lists them")
    if len(found) > 1:
        raise Invalid(f"{len(found)} snapshots begin with {id_prefix!r}: {', '.join(path.name[:16] for path in found)}")
    snapshot = Snapshot(found[0], load_manifest(found[0]))
    if for_training and snapshot.is_tainted:
        raise Refused(f"snapshot {snapshot.manifest.id[:16]} is tainted: {read_taint(found[0]).reason}; build another")
    return snapshot


def read_manifest(state_dir: Path, id_prefix: str) -> Manifest:
    """By id or the beginning of one. Raises Missing, or Invalid when several begin so."""
    return open_snapshot(state_dir, id_prefix).manifest


def load_manifest(folder: Path) -> Manifest:
    """Raises Corrupt when it is not what a builder wrote, or stands under another id."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise Corrupt(f"{folder / MANIFEST} is not a manifest; delete the snapshot and build it again") from error
    if manifest.id != folder.name:
        raise Corrupt(f"{folder / MANIFEST} is of snapshot {manifest.id}; it does not belong in this folder")
    return manifest


def read_taint(folder: Path) -> Taint:
    return Taint.model_validate_json((folder / TAINTED).read_bytes())


def all_snapshots(state_dir: Path) -> list[Snapshot]:
    """The newest first; a snapshot exists when its manifest does. One with a broken manifest is passed over."""
    found = []
    for folder in _folders(state_dir):
        try:
            found.append(Snapshot(folder, load_manifest(folder)))
        except Corrupt as error:
            log.warning("snapshot.unreadable", folder=folder.name, error=str(error))
    return sorted(found, key=lambda snapshot: (-snapshot.manifest.created_at, snapshot.manifest.id))


def list_snapshots(state_dir: Path) -> list[SnapshotRow]:
    """The newest first."""
    return [_row(snapshot) for snapshot in all_snapshots(state_dir)]


def where(state_dir: Path, entry_id: str) -> list[Whereabouts]:
    """What every snapshot says about an entry, the newest first."""
    return [_whereabouts(state_dir, snapshot, entry_id) for snapshot in all_snapshots(state_dir)]


@contextlib.contextmanager
def locked(state_dir: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """One process at a time makes or taints snapshots. Raises Busy after `wait_s`."""
    folder = snapshots_folder(state_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise Busy(f"another process has been building a snapshot in {folder} for {wait_s:.0f} s")
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folders(state_dir: Path) -> list[Path]:
    folder = snapshots_folder(state_dir)
    return [path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]


def _row(snapshot: Snapshot) -> SnapshotRow:
    manifest = snapshot.manifest
    return SnapshotRow(
        id=manifest.id,
        created_at=manifest.created_at,
        role=manifest.selection.role,
        rig=manifest.selection.rig,
        items=manifest.items,
        supervised_tokens=manifest.supervised_tokens,
        pairs=manifest.pairs,
        ready=manifest.ready and not snapshot.is_tainted,
        tainted=snapshot.is_tainted,
        reasons=tuple(gate.why for gate in manifest.reasons),
    )


def _whereabouts(state_dir: Path, snapshot: Snapshot, entry_id: str) -> Whereabouts:
    manifest = snapshot.manifest
    for item in snapshot.items():
        if item.entry_id == entry_id:
            return Whereabouts(
                snapshot=manifest.id, created_at=manifest.created_at, is_in=True, reason=item.use, why=item.why
            )
    reason, why = _why_out(state_dir, snapshot, entry_id)
    return Whereabouts(snapshot=manifest.id, created_at=manifest.created_at, is_in=False, reason=reason, why=why)


def _why_out(state_dir: Path, snapshot: Snapshot, entry_id: str) -> tuple[str, str]:
    for line in snapshot.excluded():
        if line.entry_id == entry_id:
            return line.reason, line.why
    try:
        with contextlib.closing(open_reader(state_dir / "state.db")) as connection:
            row = read_row(connection, entry_id)
    except sqlite3.Error as error:
        raise Corrupt(f"cannot read {state_dir / 'state.db'}: {error}") from error
    selection = snapshot.manifest.selection
    if row is not None and not may_hold(selection, row):
        return (
            "not_selected",
            f"the snapshot is of {_told(snapshot)}; the entry is of {row.role} in {row.rig or 'the town'}",
        )
    return "unknown", "the corpus held no such entry, or another state of it, when the snapshot was built"


def _told(snapshot: Snapshot) -> str:
    selection = snapshot.manifest.selection
    rigs = [*selection.rigs, *(["the town's own agents"] if selection.town_level else [])]
    return f"{selection.role or 'all roles'} in {', '.join(rigs) or 'no rig'}"
