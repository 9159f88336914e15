"""Values that a terminal's edge, a line's end or quotes cut: views in which the parts stand side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from gtftd.scrub.compiled import cache_folder
from gtftd.scrub.probes import Mark, Scanner
from gtftd.scrub.views import View

TOKEN = r"A-Za-z0-9+/_=.~@:%!#$^&*?-"
_TOKEN_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_=.~@:%!#$^&*?-"
_QUOTED = r"A-Za-z0-9+/_=.~%-"
_FRAME = "│┃║▏▕|"
_GAP = "\n\0\n"
_LEAST_WHOLE = 10
_AROUND = 256
_LONGEST = 4096
"""What is read of a run on either side of a cut."""

_WRAP = re.compile(rf"\n(?<=[{TOKEN}]\n)(?:[ \t]{{1,80}}|(?=[^ \t]))(?:[{_FRAME}>#*+][ \t]{{1,8}})?(?=[{TOKEN}])")
_FRAMED = re.compile(rf"\n[ \t]{{0,80}}(?:[{_FRAME}>#*+][ \t]{{1,8}}|[{_FRAME}])?(?=[{TOKEN}])")
_PADDING = 8
"""More blanks before a screen's frame say that the line ended there by itself."""
_MARGIN = 220
"""Characters of blanks and frames before a line's end, at most."""
_STITCH = re.compile(
    rf"[\"'`](?<=[{_QUOTED}][\"'`])"
    r"(?:[ \t]{0,20}(?:[+.&]|\|\||\.\.|,(?!\s{1,60}[\"'][\w.@-]{1,60}[\"'] ?:))?\s{0,60}[\"'`]{1,2})?"
    rf"(?=[{_QUOTED}])"
)
"""Quotes between two parts of one value; what follows a comma and is a name itself is the next field of an object."""
_FIRST = re.compile(rf"[{TOKEN}]{{1,40}}")
_TELLING = re.compile(r"[0-9@!#$%^&+]|(?:[a-z][A-Z].{0,9}){2}|[a-z]-[a-z]+-[a-z]")
"""What stands around a place where a value was cut; most line ends are between plain words."""

_WHOLE = re.compile(r"-----(?:BEGIN|END)|(?:KEY|BLOCK)-----|A[KS]IA[A-Z]{6}")
"""What is telling although its parts are not: the edge of a key block, a key's id of capital letters."""
_PLAIN = re.compile(r"[@+#*-]*(?:[A-Z]?[a-z]{2,}+|[A-Z]{2,5}+|[_./-])*+:?|[v^~]?[\d.]{1,8}:?|0x[0-9a-f]{2,4}:")
"""A word of code, a version, a number: of two of them no value is made."""

_SIGN = r"(?:[0-9]|[A-Za-z0-9][@!#$%^&+]|[a-z][A-Z]|[a-z]-|[A-Z]{2}|[A-Z]-|-[A-Z])"
_PROBES = {
    "before": rf"{_SIGN}[{TOKEN}]{{0,39}}[\n\"'`]",
    "line": rf"[{TOKEN}]\n[ \t]*(?:[|>#*+?][ \t]+)?[{TOKEN}]{{0,20}}{_SIGN}",
    "quote": rf"[{_QUOTED}][\"'`](?:[ \t]*[+.&,|]{{0,2}}\s*[\"'`]+)?[{TOKEN}]{{0,20}}{_SIGN}",
}
"""Where a part of `_TELLING` stands near a cut: before it, or behind a line's end or a quote."""


def joined_each(views: Sequence[View]) -> list[View | None]:
    """Each with the tokens whole that a terminal's edge, a line's end or quotes cut; None where nothing was cut."""
    if not views:
        return []
    marked = _scanner().scan_each([view.probe for view in views])
    return [_joined(view, marks) for view, marks in zip(views, marked, strict=True)]


@cache
def _scanner() -> Scanner:
    return Scanner(_PROBES.items(), cache=cache_folder())


def _joined(view: View, marks: Iterable[Mark]) -> View | None:
    text = view.text
    places = {end - 1 if what == "before" else start + 1 for start, what, end in marks}
    framed = any(sign in text for sign in "│┃║▏\r") or "|\n" in text or "  \n" in text
    seams = list(_framed(text)) if framed else []
    for place in places:
        pattern = _STITCH if text[place : place + 1] != "\n" else None if framed else _WRAP
        found = None if pattern is None else pattern.match(text, place)
        if found is not None:
            seams.append(found.span())
    kept = list(_telling(text, sorted(seams)))
    return _closed(view, kept) if kept else None


def _framed(text: str) -> Iterator[tuple[int, int]]:
    """The line ends between token signs, with the frame of a screen, and the blanks before it, on either side."""
    for found in _FRAMED.finditer(text):
        before = text[max(0, found.start() - _MARGIN) : found.start()].removesuffix("\r")
        bare = before.rstrip(" \t")
        inner = bare.rstrip(_FRAME)
        if len(inner) < len(bare):
            bare = inner.rstrip(" \t")
            if len(inner) - len(bare) > _PADDING:
                continue
        start = found.start() - len(before) + len(bare) - (text[found.start() - 1 : found.start()] == "\r")
        if bare and bare[-1] in _TOKEN_SIGNS:
            yield start, found.end()


def _telling(text: str, seams: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The seams at which a value may have been cut: what touches there is long enough, and no plain words."""
    done = 0
    for start, end in seams:
        if start < done or end <= start:
            continue
        before = text[start - 40 : start] if start > 40 else text[:start]
        behind = _FIRST.match(text, end)
        head, tail = last_run(before), behind.group() if behind else ""
        if len(head) + len(tail) >= _LEAST_WHOLE and _is_telling(head, tail):
            yield start, end
            done = end


def _is_telling(head: str, tail: str) -> bool:
    if _TELLING.search(head + tail) and not (_PLAIN.fullmatch(head) and _PLAIN.fullmatch(tail)):
        return True
    return _WHOLE.search(head + tail) is not None


def _closed(view: View, seams: Sequence[tuple[int, int]]) -> View:
    """The text around the seams, without them; what is far from any is left out, with a blank in its place."""
    text = view.text
    new = View("", view)
    pieces: list[str] = []
    done = stop = at = 0
    for place, (start, end) in enumerate(seams):
        begin = begin_of(text, start)
        if place == 0 and begin > 0:
            new.add(0, 0, 0, begin)
            done = begin
        elif place and begin > stop:
            pieces += (text[done:stop], _GAP)
            at += stop - done
            new.add(at, len(_GAP), stop, begin)
            at += len(_GAP)
            done = begin
        pieces.append(text[done:start])
        at += start - done
        new.add(at, 0, start, end)
        done = end
        stop = stop_of(text, end)
    pieces.append(text[done:stop])
    new.text = "".join(pieces)
    return new


def begin_of(text: str, start: int) -> int:
    """From where on the text before a seam is read: the run that ends there, and what may name it."""
    return max(0, start - len(last_run(text[max(0, start - _LONGEST) : start])) - _AROUND)


def last_run(text: str) -> str:
    """The token signs at the end of a text."""
    return text[len(text.rstrip(_TOKEN_SIGNS)) :]


def stop_of(text: str, end: int) -> int:
    """How far the text behind a seam is read: the run that begins there, and what follows."""
    tail = text[end : end + _LONGEST]
    return end + len(tail) - len(tail.lstrip(_TOKEN_SIGNS)) + _AROUND


def is_edge(text: str, place: int, *, around: int = 4) -> bool:
    """Whether the line that ends at `place` may have been cut by a terminal: no line near it is longer."""
    start = text.rfind("\n", max(0, place - 1000), place) + 1
    width = place - start
    if width < 12:
        return False
    nearest = place
    for _ in range(around):
        stop = text.find("\n", nearest + 1, nearest + 2 + width + 1)
        if stop < 0:
            if len(text) - nearest - 1 > width:
                return False
            break
        if stop - nearest - 1 > width:
            return False
        nearest = stop
    behind = start - 1
    for _ in range(around):
        if behind <= 0:
            break
        begin = text.rfind("\n", max(0, behind - width - 2), behind) + 1
        if begin == 0 and behind > width:
            return False
        if behind - begin > width:
            return False
        behind = begin - 1
    return True
