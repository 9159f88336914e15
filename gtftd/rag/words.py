"""Words and names: what of a text is looked up letter by letter, and what by its stem."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_NAME = 96
_NAME = re.compile(r"(?<![A-Za-z0-9_])(?:--?)?[A-Za-z0-9_]+(?:[-./:@]+[A-Za-z0-9_]+)*")
_INNER = re.compile(r"[-_./:@]|[a-z][A-Z]")
_SPLITS = re.compile(r"[/:@]+")


def names_of(text: str) -> Iterator[str]:
    """Every name in a text, in small letters: what holds `-`, `_`, `.` or `/` inside, or is written likeThis; a flag
    with and without its dashes, and of a path its parts that are names themselves.
    """
    for found in _NAME.finditer(text):
        name = found[0]
        if name.isalnum() and (name[1:].islower() or name.isdigit()):
            continue  # a plain word, found out ten times as fast as by the expression below
        if len(name) > MAX_NAME or not _INNER.search(name):
            continue
        small = name.lower()
        bare = small.lstrip("-")
        if len(bare) < 2:
            continue
        yield small
        if bare != small:
            yield bare
        if _SPLITS.search(bare):
            yield from (part for part in _SPLITS.split(bare) if part and _INNER.search(part))
