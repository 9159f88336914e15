"""Text cut into passages that fit an embedding model: markdown by its headings, anything else by its paragraphs.

Every loop here goes over the text once: what agents wrote may be hostile, and is at most `MAX_TEXT` long.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BUDGET = 200
"""Wordpieces of a passage, estimated: what the model reads (256) less title and headings."""
SMALL = 80
"""A section of fewer wordpieces joins its neighbour."""
MAX_LEVELS = 4
_HEADING = re.compile(r"^(#{1,6})[ \t]+(\S[^\n]{0,300}?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^[ \t]{0,8}(```|~~~)")
_PIECES = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
_WORD_CHARS = 7
_PIECE_CHARS = 2 * BUDGET


@dataclass(frozen=True)
class Passage:
    """`heading`: the headings above it, joined by ` > `."""

    heading: str
    text: str
    read: str = ""
    """What the model reads of it, where that is not the text."""


def cost(text: str) -> int:
    """About how many wordpieces it takes."""
    return sum(_cost_of(found) for found in _PIECES.findall(text))


def _cost_of(piece: str) -> int:
    if piece[0].isdigit():
        return (len(piece) + 1) // 2
    return 1 + (len(piece) - 1) // _WORD_CHARS


def by_headings(text: str, above: tuple[str, ...] = (), *, join: bool = True) -> Iterator[Passage]:
    """Sections of markdown, with `join` small neighbours together; a heading inside of a code fence is none."""
    held: list[tuple[tuple[str, ...], str]] = []
    spent = 0
    for path, lines in _sections(text, above):
        for packed in pack(lines):
            weight = cost(packed)
            fits = join and min(spent, weight) <= SMALL and spent + weight <= BUDGET
            if held and not (fits and _akin(held[0][0], path)):
                yield _joined(held)
                held, spent = [], 0
            held.append((path, packed))
            spent += weight
    if held:
        yield _joined(held)


def _akin(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """One stands under the other, or both stand under a third."""
    return len(_shared(one, other)) >= max(1, min(len(one), len(other)) - 1)


def _joined(held: list[tuple[tuple[str, ...], str]]) -> Passage:
    """Under the heading that all have; their own ones stand in the text."""
    shared = functools.reduce(_shared, (path for path, _ in held))
    said, parts = shared, []
    for path, text in held:
        parts += [f"**{name}**" for name in path[len(_shared(said, path)) :]]
        parts.append(text)
        said = path
    return Passage(" > ".join(shared), "\n\n".join(parts))


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(name for name, _ in same)


def _sections(text: str, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    levels: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        marks = _FENCE.match(line)
        if marks and fence in {"", marks[1]}:
            fence = "" if fence else marks[1]
        found = None if fence else _HEADING.match(line)
        if found is None:
            lines.append(line)
            continue
        if any(map(str.strip, lines)):
            yield above + tuple(name for _, name in levels[-MAX_LEVELS:]), lines
        lines = []
        level = len(found[1])
        levels = [(other, name) for other, name in levels if other < level]
        levels.append((level, found[2]))
    if any(map(str.strip, lines)):
        yield above + tuple(name for _, name in levels[-MAX_LEVELS:]), lines


def pack(lines: Iterable[str], budget: int = BUDGET) -> Iterator[str]:
    """Paragraphs put together until the budget is full; a long one is cut between lines, a long line between words."""
    held: list[str] = []
    spent = 0
    for block, weight in _blocks(lines, budget):
        if held and spent + weight > budget:
            yield "\n\n".join(held)
            held, spent = [], 0
        held.append(block)
        spent += weight
    if held:
        yield "\n\n".join(held)


def _blocks(lines: Iterable[str], budget: int) -> Iterator[tuple[str, int]]:
    """Paragraphs, none of them above the budget."""
    held: list[str] = []
    spent = 0
    for line in lines:
        if not line.strip():
            if held:
                yield "\n".join(held), spent
            held, spent = [], 0
            continue
        for piece, weight in _cut(line, budget):
            if held and spent + weight > budget:
                yield "\n".join(held), spent
                held, spent = [], 0
            held.append(piece)
            spent += weight
    if held:
        yield "\n".join(held), spent


def _cut(line: str, budget: int) -> Iterator[tuple[str, int]]:
    weight = cost(line)
    if weight <= budget:
        yield line.rstrip(), weight
        return
    begin = last = spent = 0
    for found in _PIECES.finditer(line):
        size = _cost_of(found[0])
        if spent and spent + size > budget:
            at = last if last > begin else found.start()
            yield line[begin:at].strip(), spent
            begin, spent = at, cost(line[at : found.start()])
        if found.start() and line[found.start() - 1].isspace():
            last = found.start()
        spent += size
        if spent > budget:  # one word, as long as a passage
            for start in range(found.start(), found.end(), _PIECE_CHARS):
                yield line[start : min(start + _PIECE_CHARS, found.end())], budget
            begin, last, spent = found.end(), found.end(), 0
    if line[begin:].strip():
        yield line[begin:].strip(), spent
