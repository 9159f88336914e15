"""The databases of the one-pass scanner: compiled once, kept for the next process, compiled again when in doubt."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

_SUM_BYTES = 32


def database_of(expressions: Sequence[bytes], shortest: Sequence[int], *, cache: Path | None = None) -> Any:
    """A database that reports start and end of each match; of those of `shortest` characters and more.

    Patterns of the rules are no secret and may be kept under `cache`; the town's own values never are.
    """
    import hyperscan

    if cache is None:
        return _compiled(expressions, shortest)
    path = cache / f"{_name(expressions, shortest)}.hsdb"
    kept = _read(path)
    if kept is not None:
        with suppress(hyperscan.error):  # made for another processor or version
            database = hyperscan.loadb(kept, mode=hyperscan.HS_MODE_BLOCK)
            database.scratch = hyperscan.Scratch(database)
            return database
    database = _compiled(expressions, shortest)
    _write(path, hyperscan.dumpb(database))
    return database


def cache_folder() -> Path:
    """Where a user's programs keep what they can make again."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".cache") / "gtftd"


def _compiled(expressions: Sequence[bytes], shortest: Sequence[int]) -> Any:
    import hyperscan

    bounds: Any = hyperscan.ExpressionExt  # type: ignore[attr-defined]
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flag = hyperscan.HS_EXT_FLAG_MIN_LENGTH
    database.compile(
        expressions=list(expressions),
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[hyperscan.HS_FLAG_SOM_LEFTMOST | hyperscan.HS_FLAG_DOTALL] * len(expressions),
        ext=[bounds(flag if least else 0, 0, 0, least, 0, 0) for least in shortest],
    )
    return database


def _name(expressions: Sequence[bytes], shortest: Sequence[int]) -> str:
    """Of what is compiled, by what, for which processor."""
    digest = hashlib.sha256(version("hyperscan").encode())
    digest.update(_processor())
    for expression, least in zip(expressions, shortest, strict=True):
        digest.update(b"%d %d " % (least, len(expression)) + expression)
    return digest.hexdigest()[:32]


def _processor() -> bytes:
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            head = file.read(16384)
    except OSError:
        return os.uname().machine.encode()
    told = (b"flags", b"Features", b"model name")
    return b"\n".join(line for line in head.splitlines() if line.startswith(told))[:8192]


def _read(path: Path) -> bytes | None:
    """What was kept, if it is ours, whole and unchanged."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            kept = file.read()
    except OSError:
        return None
    body = kept[_SUM_BYTES:]
    return body if body and hashlib.sha256(body).digest() == kept[:_SUM_BYTES] else None


def _write(path: Path, body: bytes) -> None:
    """Whole or not at all. A folder that cannot be written costs the next process the time to compile."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
        Path(name).replace(path)
    except OSError:
        return
