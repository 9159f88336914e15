"""Clean text: the code and prose that lies on this machine, in pieces as a tool result would show them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

from tests.support.planted_filler import files_under

PIECE = 8_000
_LEAST_OF_ONE = 6_000
_MOST_READ = 2_000_000
_ROOT = Path(__file__).parents[2]
_SHARED = _ROOT.parent / "shared" / "data"
_DOC = Path("/usr/share/doc")


@dataclass(frozen=True)
class Clean:
    """One piece of a file; `kind` is the part of the corpus it stands for."""

    kind: str
    path: str
    text: str


def _of(folder: Path, *endings: str) -> list[Path]:
    return [path for path in files_under(folder) if path.name.endswith(endings)]


@lru_cache(maxsize=1)
def _stdlib() -> Path:
    return Path(sysconfig.get_path("stdlib"))


@lru_cache(maxsize=1)
def _installed() -> Path:
    return Path(sysconfig.get_path("purelib"))


def _node() -> Path:
    return next((path for path in (Path("/usr/lib/node_modules"), Path("/usr/share/nodejs")) if path.is_dir()), _DOC)


_FILES: dict[str, tuple[float, Callable[[], list[Path]]]] = {
    "stdlib code": (0.18, lambda: _of(_stdlib(), ".py")),
    "package code": (0.28, lambda: _of(_installed(), ".py", ".pyi")),
    "javascript": (0.10, lambda: [*_of(_node(), ".js", ".ts", ".mjs"), *_of(_installed(), ".js")]),
    "json and yaml": (0.08, lambda: [*_of(_installed(), ".json", ".yaml", ".yml", ".toml"), *_of(_node(), ".json")]),
    "prose": (
        0.12,
        lambda: [
            *_of(_installed(), ".md", ".rst", ".txt"),
            *_of(_node(), ".md"),
            *_of(_DOC, ".txt", ".md", "README", "NEWS"),
        ],
    ),
    "changelogs and licences": (0.06, lambda: _of(_DOC, "changelog.Debian.gz", "changelog.gz", "copyright")),
    "town": (0.10, lambda: _of(_SHARED, ".md", ".toml", ".tmpl", ".jsonl", ".json")),
}


def _text(path: Path) -> str:
    raw = path.read_bytes() if not path.name.endswith(".gz") else gzip.decompress(path.read_bytes())
    return "" if b"\0" in raw[:4000] else raw[:_MOST_READ].decode(errors="ignore")


def _window(rng: Random, text: str, most: int) -> str:
    """Whole lines from somewhere in the text, so that no file weighs more than another."""
    if len(text) <= most:
        return text
    begin = text.find("\n", rng.randrange(len(text) - most)) + 1
    part = text[begin : begin + most]
    return part[: part.rfind("\n") + 1] or part


def _pieces(kind: str, path: str, text: str) -> Iterator[Clean]:
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size >= PIECE:
            yield Clean(kind, path, "".join(lines))
            lines, size = [], 0
    if size > 200:
        yield Clean(kind, path, "".join(lines))


def _history(seed: int) -> Iterator[Clean]:
    """Commits with their patches, as git prints them, of what is installed: no project's own history, which may hold
    secrets that were made up to be found, and which every machine has another length of.
    """
    rng = Random(f"{seed} history")
    paths = [*_of(_installed(), ".py"), *_of(_stdlib(), ".py")]
    rng.shuffle(paths)
    for path in paths:
        lines = _window(rng, path.read_text(errors="ignore"), 3_000).splitlines()
        if len(lines) > 8:
            yield Clean("git log", str(path), _commit(rng, path, lines))


def _commit(rng: Random, path: Path, lines: list[str]) -> str:
    name = f"{path.parent.name}/{path.name}"
    old, new = rng.randrange(1, 900), rng.randrange(1, 900)
    marks = rng.choices("   +-", k=len(lines))
    return "\n".join([
        f"commit {rng.randbytes(20).hex()}",
        f"Merge: {rng.randbytes(5).hex()} {rng.randbytes(5).hex()}",
        f"Date:   Tue Nov {rng.randrange(1, 29)} 14:0{rng.randrange(10)}:31 2026 +0100",
        "",
        f"    Change {path.stem} (#{rng.randrange(1, 9000)})",
        "",
        f"diff --git a/{name} b/{name}",
        f"index {rng.randbytes(5).hex()}..{rng.randbytes(5).hex()} 100644",
        f"--- a/{name}",
        f"+++ b/{name}",
        f"@@ -{old},{len(lines)} +{new},{len(lines)} @@",
        *(mark + line for mark, line in zip(marks, lines, strict=True)),
        "",
    ])  # fmt: skip


def _locks() -> Iterator[Clean]:
    """Lock files of what is installed: versions, addresses and integrity hashes."""
    for record in _of(_installed(), "dist-info/RECORD"):
        yield from _pieces("lock files", str(record), record.read_text(errors="ignore"))
    packages: dict[str, object] = {}
    for path in [*_of(_node(), "package.json"), *_of(_installed(), ".py")[:1500]]:
        name, raw = path.parent.name, path.read_bytes()
        packages[f"node_modules/{name}"] = {
            "version": f"{len(raw) % 9}.{len(raw) % 23}.{len(raw) % 7}",
            "resolved": f"https://registry.npmjs.org/{name}/-/{name}-{len(raw) % 9}.0.1.tgz",
            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(raw).digest()).decode(),
            "shasum": hashlib.sha1(raw).hexdigest(),
        }
    yield from _pieces("lock files", "package-lock.json", json.dumps({"packages": packages}, indent=2))


def clean_texts(seed: int, size: int) -> Iterator[Clean]:
    """About `size` characters, in fixed shares; what a machine does not have is made up for with package code.

    No file gives more than a five hundredth of it, so that no single one decides about the whole.
    """
    left = size
    for share, source in ((0.04, _history(seed)), (0.04, _locks())):
        part = int(size * share)
        for piece in source:
            if part <= 0:
                break
            part -= len(piece.text)
            left -= len(piece.text)
            yield piece
    most = max(_LEAST_OF_ONE, size // 500)
    for kind, (share, files) in sorted(_FILES.items(), key=lambda item: item[0] == "package code"):
        part = left if kind == "package code" else int(size * share)
        for piece in _shuffled(seed, kind, files(), most):
            if part <= 0:
                break
            part -= len(piece.text)
            left -= len(piece.text)
            yield piece


def _shuffled(seed: int, kind: str, paths: list[Path], most: int) -> Iterator[Clean]:
    rng = Random(f"{seed} {kind}")
    rng.shuffle(paths)
    for path in paths:
        try:
            text = _text(path)
        except (OSError, EOFError):
            continue
        yield from _pieces(kind, str(path), _window(rng, text, most))
