"""One file of the spool: its format, and the reader that trusts none of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from gtftd.errors import Invalid, Missing

MAX_FILE_BYTES = 2 * 1024 * 1024
"""More is no hook's: the payload is cut at 1 MiB and each of some twenty variables at 4 KiB."""

Kind = Literal["claude", "bead", "emit"]
_KINDS: dict[bytes, Kind] = {b"claude": "claude", b"bead": "bead", b"emit": "emit"}
_FIRST = re.compile(rb"gtftd-hook (\d{1,9}) ([a-z]{1,16}) ([A-Za-z0-9._-]{1,200})")
_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@dataclass(frozen=True)
class SpoolFile:
    """One file of the spool; all but `path` and `written_at` may be hostile."""

    path: Path
    name: str
    """Unique for all time: `claude-<uuid>-<pid>`. It stays when the file is moved."""
    written_at: datetime
    kind: Kind
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    args: tuple[str, ...] = ()
    payload: bytes = b""


def parse_spool_file(path: Path) -> SpoolFile:
    """Raises Invalid for a torn, foreign or oversized file, and Missing when it is gone."""
    content, written_at = _read(path)
    first, _, rest = content.partition(b"\n")
    matched = _FIRST.fullmatch(first)
    if matched is None:
        raise Invalid(f"{path.name} has not our first line, `gtftd-hook VERSION KIND NAME`")
    version, kind, name = matched.groups()
    if version != b"1" or kind not in _KINDS:
        told = f"format {version.decode()}, kind {kind.decode()}"
        raise Invalid(f"{path.name} has {told}; this gtftd reads format 1")
    trailer = b"\n# end " + name + b"\n"
    if not content.endswith(trailer):
        raise Invalid(f"{path.name} is torn: its last line is not `# end NAME`, so its writer was stopped")
    head, blank, payload = (b"\n" + rest[: -len(trailer)]).partition(b"\n\n")
    if not blank:
        raise Invalid(f"{path.name} has no empty line between its head and its payload")
    env, args = _fields(path, head)
    return SpoolFile(
        path=path,
        name=name.decode(),
        written_at=written_at,
        kind=_KINDS[kind],
        env=MappingProxyType(env),
        args=tuple(args),
        payload=payload,
    )


def _read(path: Path) -> tuple[bytes, datetime]:
    """All of an ordinary file of bearable size; never follows a link or waits for a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise Missing(f"{path.name} is gone from the spool") from error
    except OSError as error:
        raise Invalid(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Invalid(f"{path.name} is no ordinary file; a hook leaves one")
        if status.st_size > MAX_FILE_BYTES:
            raise Invalid(f"{path.name} has {status.st_size} bytes; a hook leaves at most {MAX_FILE_BYTES}")
        written_at = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
        return os.read(descriptor, MAX_FILE_BYTES), written_at
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{path.name} has a modification time that no calendar knows") from error
    finally:
        os.close(descriptor)


def _fields(path: Path, head: bytes) -> tuple[dict[str, str], list[str]]:
    """The head's `KEY=value` lines; `ARG` may repeat, of the others the first counts."""
    env: dict[str, str] = {}
    args: list[str] = []
    for line in head.split(b"\n"):
        if not line:
            continue
        key, equals, value = line.decode("utf-8", "replace").partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise Invalid(f"{path.name} has a head line that is not KEY=value")
        if key == "ARG":
            args.append(value)
        else:
            env.setdefault(key, value)
    return env, args
