"""Real text to hide secrets in: the town's public data where it lies, then what is installed."""

from __future__ import annotations

import json
import os
import sysconfig
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from random import Random

_MOST_BYTES = 5_000_000
_MOST_OF_ONE = 60_000
_SHARED = Path(__file__).parents[3] / "shared" / "data"
_ENDINGS = (".py", ".md", ".rst", ".txt", ".toml", ".json", ".js", ".tmpl")


@lru_cache(maxsize=16)
def files_under(folder: Path) -> tuple[Path, ...]:
    """Every file, in an order that does not depend on the file system. What is installed is no part of the library."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in ("__pycache__", "site-packages", "dist-packages"))
        found += [Path(place, name) for name in sorted(names)]
    return tuple(found)


def _files() -> Iterator[Path]:
    if _SHARED.is_dir():
        yield from (path for path in files_under(_SHARED) if path.suffix in (".md", ".toml", ".tmpl", ".jsonl"))
    for name in ("stdlib", "purelib"):
        paths = [path for path in files_under(Path(sysconfig.get_path(name))) if path.suffix in _ENDINGS]
        Random(name).shuffle(paths)
        yield from paths


def _lines(path: Path) -> list[str]:
    text = path.read_bytes()[:_MOST_OF_ONE].decode(errors="ignore")
    if path.suffix == ".jsonl":
        return [line for row in text.splitlines()[:-1] for line in _prose(row)]
    return [line[:400] for line in text.splitlines() if line.strip() and "\0" not in line]


def _prose(row: str) -> list[str]:
    try:
        fields = json.loads(row)
    except ValueError:
        return []
    texts = (
        (fields.get(name) for name in ("title", "description", "notes", "design")) if isinstance(fields, dict) else ()
    )
    return [line[:400] for text in texts if isinstance(text, str) for line in text.splitlines() if line.strip()]


@lru_cache(maxsize=2)
def lines(held_out: bool) -> tuple[str, ...]:
    """Lines of one half of the files; the other half is for the other style."""
    taken: list[str] = []
    size = 0
    for path in _files():
        if zlib.crc32(path.name.encode()) % 2 == held_out and path.is_file():
            new = _lines(path)
            taken += new
            size += sum(map(len, new))
            if size > _MOST_BYTES:
                break
    return tuple(taken)


def passage(rng: Random, size: int, held_out: bool) -> list[str]:
    """Consecutive lines of about `size` characters."""
    source = lines(held_out)
    at = int(rng.random() * len(source))  # one draw, however many lines there are
    taken: list[str] = []
    while size > 0:
        taken.append(source[at % len(source)])
        size -= len(taken[-1]) + 1
        at += 1
    return taken
