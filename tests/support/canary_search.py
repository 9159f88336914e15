"""Looks for planted secrets in every byte of many files, in each form in which a secret can be written down."""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

MIN_CHARS = 10
"""A shorter secret stands in any text by chance."""
_PART = 20
"""So many characters out of a long secret are a find, too."""
_LONG = 23
_SHORT_WINDOW, _SHORT_STEP = 5, 6
_LONG_WINDOW, _LONG_STEP = 12, 12
_FOLDS = re.compile(rb"\\n|\\r|[\r\n\t ]+")


@dataclass(frozen=True)
class Find:
    """One secret that can be read where it must not be."""

    owner: int
    file: str
    form: str
    at: int
    around: str


class Search:
    """All secrets at once: each file is read once, in steps of a window that every needle must cover."""

    def __init__(self, secrets: Mapping[int, Iterable[str]]) -> None:
        """`secrets` by owner."""
        self._needles: dict[bytes, tuple[int, str]] = {}
        for owner, texts in secrets.items():
            for text in texts:
                for form, needle in forms(text):
                    self._needles.setdefault(needle, (owner, form))
        self._long = _anchors((n for n in self._needles if len(n) >= _LONG), _LONG_WINDOW, _LONG_STEP)
        self._short = _anchors((n for n in self._needles if len(n) < _LONG), _SHORT_WINDOW, _SHORT_STEP)

    def __len__(self) -> int:
        return len(self._needles)

    def in_bytes(self, content: bytes, name: str) -> Iterator[Find]:
        """As it stands, and with its line breaks and blanks taken out."""
        yield from self._scan(content, name)
        folded = _FOLDS.sub(b"", content)
        if len(folded) != len(content):
            yield from self._scan(folded, f"{name} (line breaks removed)")

    def in_files(self, files: Iterable[Path], root: Path) -> list[Find]:
        """Every find, one for each owner and file. A file's name is searched as well."""
        found: dict[tuple[int, str], Find] = {}
        for path in files:
            name = path.relative_to(root).as_posix()
            for find in (*self.in_bytes(path.read_bytes(), name), *self.in_bytes(name.encode(), f"the name of {name}")):
                found.setdefault((find.owner, name), find)
        return list(found.values())

    def _scan(self, content: bytes, name: str) -> Iterator[Find]:
        for anchors, window, step in (
            (self._long, _LONG_WINDOW, _LONG_STEP),
            (self._short, _SHORT_WINDOW, _SHORT_STEP),
        ):
            if not anchors:
                continue
            for at in range(0, len(content) - window + 1, step):
                for needle, offset in anchors.get(content[at : at + window], ()):
                    start = at - offset
                    if content[max(start, 0) : start + len(needle)] == needle:
                        owner, form = self._needles[needle]
                        around = content[max(0, start - 60) : start + len(needle) + 20]
                        yield Find(owner, name, form, start, around.decode("utf-8", "replace"))


def _anchors(needles: Iterable[bytes], window: int, step: int) -> dict[bytes, list[tuple[bytes, int]]]:
    """By each window that begins within the first `step` bytes of a needle: one of them lies on the grid."""
    found: dict[bytes, list[tuple[bytes, int]]] = defaultdict(list)
    for needle in needles:
        assert len(needle) >= window + step - 1 or len(needle) >= MIN_CHARS, needle
        for offset in range(min(step, len(needle) - window + 1)):
            found[needle[offset : offset + window]].append((needle, offset))
    return dict(found)


def forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """Every way of writing it down that is looked for, by name; long secrets also by a part of their middle and end."""
    for part in _parts(secret):
        raw = part.encode()
        escaped = json.dumps(part)[1:-1]
        yield "plain", raw
        yield "JSON", escaped.encode()
        yield "JSON in JSON", json.dumps(escaped)[1:-1].encode()
        yield "URL", quote(part, safe="").encode()
        yield "URL but slashes", quote(part).encode()
        yield "hex", raw.hex().encode()
        yield "HEX", raw.hex().upper().encode()
        if "\n" in part:
            yield "without line breaks", part.replace("\n", "").encode()
        for alignment in range(3):
            yield from _base64(raw, alignment)


def _base64(raw: bytes, alignment: int) -> Iterator[tuple[str, bytes]]:
    """Less the characters at both ends that its neighbours have a part in."""
    padded = b"\0" * alignment + raw
    first = (8 * alignment + 5) // 6
    last = len(padded) * 8 // 6
    for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
        needle = encode(padded)[first:last]
        if len(needle) >= MIN_CHARS:
            yield f"{name}+{alignment}", needle


def _parts(secret: str) -> Iterator[str]:
    """The whole; of long lines also what stands in the middle and at the end: a cut secret is found out, too."""
    yield secret
    for line in re.split(r"\n|\\n", secret):
        if len(line) >= 2 * _PART + 8:
            middle = len(line) // 2
            yield line[middle - _PART // 2 : middle + _PART // 2]
            yield line[-_PART:]
