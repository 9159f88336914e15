"""The town's emergency stop: files that gt and people leave; we only read them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_CONTENT_BYTES = 4096


@dataclass(frozen=True)
class EStopMark:
    """A stop that is in force. Only the file's presence counts; what it says may be missing."""

    rig: str | None
    trigger: str = ""
    since: datetime | None = None
    reason: str = ""


class EStop:
    """Looks at `ESTOP` and `ESTOP.<rig>` in the town's root; asking costs two stats."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, tuple[tuple[int, int, int], EStopMark]] = {}

    def active(self, rig: str | None = None) -> EStopMark | None:
        """The stop of the whole town, else that of `rig`. A mark that can't be read is a stop too."""
        town = self._mark(self._root / "ESTOP", None)
        if town is not None or not rig or "/" in rig or "\0" in rig:
            return town
        return self._mark(self._root / f"ESTOP.{rig}", rig)

    def standing(self) -> list[EStopMark]:
        """Every stop that is in force, of the town and of rigs; one look into the root."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._root) if entry.name.startswith("ESTOP"))
        except OSError:
            return []
        rigs = {name: name.removeprefix("ESTOP.") for name in names if name.startswith("ESTOP.") and name != "ESTOP."}
        found = [self._mark(self._root / name, rigs.get(name)) for name in names if name == "ESTOP" or name in rigs]
        return [mark for mark in found if mark is not None]

    def _mark(self, path: Path, rig: str | None) -> EStopMark | None:
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            self._read.pop(path, None)
            return None
        except OSError:
            return EStopMark(rig)
        signature = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._read.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        mark = _parse(path, rig)
        self._read[path] = (signature, mark)
        return mark


def _parse(path: Path, rig: str | None) -> EStopMark:
    """`trigger<TAB>RFC 3339<TAB>reason`, as far as it is there."""
    try:
        if not path.is_file():  # never wait for a pipe
            return EStopMark(rig)
        with path.open("rb") as file:
            text = file.read(_CONTENT_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return EStopMark(rig)
    trigger, _, rest = text.partition("\t")
    since, _, reason = rest.partition("\t")
    at: datetime | None = None
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(since)
    return EStopMark(rig, trigger, at, reason)
