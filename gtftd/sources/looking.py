"""Looks at watched files: cheap when nothing changed, and safe whatever lies under the name."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gtftd.town.watched import MAX_FILE_BYTES, in_place_since, is_sound

_CHUNK_BYTES = 1024 * 1024
_ENDLESS_BYTES = 1024**3
"""No file is read further than this: something in /proc may have no end."""


@dataclass(frozen=True)
class Look:
    """What a look found: `here` with a sum, `gone`, or `unreadable` (a loop of links, no permission, a pipe)."""

    state: Literal["here", "gone", "unreadable"]
    sha256: str | None = None
    sound: bool = True
    since: float | None = field(default=None, compare=False)
    """Since when it is so (Unix seconds), where that is known."""


GONE = Look("gone")
UNREADABLE = Look("unreadable")
_Signature = tuple[int, int, int, int, int]


class Looker:
    """Sums a file again only when its inode, size or times changed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[str, tuple[_Signature, Look]] = {}

    def look(self, path: str) -> Look:
        full = self._root / path
        try:
            status = full.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen.pop(path, None)
            return replace(GONE, since=in_place_since(full))
        except OSError:
            return UNREADABLE
        signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        seen = self._seen.get(path)
        if seen is not None and seen[0] == signature:
            return seen[1]
        if not stat.S_ISREG(status.st_mode):
            return UNREADABLE
        found = _read(full)
        if found.state != "here":
            return found
        found = replace(found, since=status.st_ctime)
        self._seen[path] = (signature, found)
        return found


def _read(path: Path) -> Look:
    digest = hashlib.sha256()
    content = bytearray()
    size = 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if size <= MAX_FILE_BYTES:
                    content += chunk
                elif size > _ENDLESS_BYTES:
                    return UNREADABLE
    except FileNotFoundError:
        return GONE
    except OSError:
        return UNREADABLE
    sound = size <= MAX_FILE_BYTES and is_sound(path.name, bytes(content))
    return Look("here", digest.hexdigest(), sound)
