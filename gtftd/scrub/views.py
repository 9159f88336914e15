"""A text as a person or a program would read it, with the way back: each place of the view knows its source."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from html import unescape

MAX_PASSES = 4
BLANK = "\0"
"""Stands where a placeholder stood, and for what cannot be a part of any value; never in a source text."""

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,39}:[0-9a-f]{6}>")
_INVISIBLE = "\x01-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9a\x9c-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff"
_HIDDEN = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\]\d{0,4};?|[PX^_]|[ -/]*[0-~])?"
    rf"|\x9b[0-?]{{0,64}}[ -/]{{0,8}}[@-~]?|[{_INVISIBLE}]+"
)
_BACKSLASH = re.compile(
    r"\\\\*+(?:(?P<colour>(?:u001[bB]|x1[bB]|033|e)\[[0-9;?]{0,32}[A-Za-z])"
    r"|u\{(?P<braced>[0-9a-fA-F]{1,6})\}|(?:u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>[0-9a-fA-F]{8})|x(?P<two>[0-9a-fA-F]{2}))"
    r"|(?P<octal>[01][0-7]{2})|(?P<broken>\r?\n[ \t]*)|(?P<sign>[^\n]?))"
)
_PERCENT = re.compile(r"%(?:25)*(?P<percent>[0-9A-Fa-f]{2})")
_FORM = re.compile(r"[^\s\"'<>]+")
_ENTITY = re.compile(r"&(?:amp;)*(?P<entity>\#\d{2,6};|\#[xX][0-9a-fA-F]{2,5};|quot;|apos;|amp;|lt;|gt;|nbsp;)")
_PLAIN = bytes(range(32, 127)) + b"\n\t\r"
_HIDDEN_WIDE = re.compile(f"[{_INVISIBLE}\x9b]")
_PERCENTS = {f"{code:02x}": chr(code) for code in (9, 10, 27, *range(32, 127))}
_SIGNS = {"n": "\n", "r": "\r", "t": "\t", "b": "", "f": " ", "0": "", "e": "", "a": "", "v": " "}


class View:
    """`text`, and where each of its places lies in `parent`, down to the source."""

    def __init__(self, text: str, parent: View | None = None) -> None:
        self.text = text
        self.parent = parent
        self.is_session = False
        """Whether the seams are those between messages: nothing but the value itself says that they belong together."""
        self._probe: bytes | None = None
        self._at: list[int] = []
        self._size: list[int] = []
        self._from: list[int] = []
        self._to: list[int] = []

    @property
    def probe(self) -> bytes:
        """One byte a character, so that places agree; what is not ASCII becomes a question mark."""
        probe = self._probe
        if probe is None:
            probe = self._probe = self.text.encode("ascii", "replace")
        return probe

    @property
    def seams(self) -> list[int]:
        """The places where something was left out (of a view that only leaves out)."""
        return self._at

    def first_seam(self, start: int) -> int:
        """The first seam strictly behind `start`, or a place behind the end."""
        index = bisect_right(self._at, start)
        return self._at[index] if index < len(self._at) else len(self.text) + 1

    def seams_within(self, start: int, end: int) -> list[int]:
        """The seams strictly between two places."""
        return self._at[bisect_right(self._at, start) : bisect_left(self._at, end)]

    def add(self, at: int, size: int, start: int, end: int) -> None:
        """`size` characters at `at` stand for those of the parent from `start` to `end`. In order."""
        self._at.append(at)
        self._size.append(size)
        self._from.append(start)
        self._to.append(end)

    def above(self, start: int, end: int) -> tuple[int, int]:
        """The span in the parent."""
        if not self._at:
            return start, end
        return self._start(start), self._end(end - 1) if end > start else self._start(start)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the source."""
        view: View | None = self
        while view is not None:
            start, end = view.above(start, end)
            view = view.parent
        return start, end

    def level(self, place: int) -> int:
        """How deeply the character here was quoted: 0 for one that stands for itself."""
        start, end = self.span(place, place + 1)
        return end - start - 1

    def _start(self, place: int) -> int:
        index = bisect_right(self._at, place) - 1
        if index < 0:
            return place
        past = place - self._at[index]
        return self._from[index] if past < self._size[index] else self._to[index] + past - self._size[index]

    def _end(self, last: int) -> int:
        index = bisect_right(self._at, last) - 1
        if index < 0:
            return last + 1
        past = last - self._at[index]
        return self._to[index] if past < self._size[index] else self._to[index] + past - self._size[index] + 1


def source_view(text: str) -> View:
    """The text itself; placeholders in it are blanked, so that nothing is found in them again."""
    if "<" in text:
        text = _PLACEHOLDER.sub(lambda found: BLANK * len(found.group()), text)
    return View(text)


def form_view(source: View) -> View | None:
    """With `+` as the blank that it is in the body of a form: in a run that quotes other signs by number."""
    text = source.text
    if "+" not in text or "%" not in text or not _PERCENT.search(text):
        return None
    read = _FORM.sub(lambda run: run[0].replace("+", " ") if "%" in run[0] and "+" in run[0] else run[0], text)
    return None if read == text else View(read, source)


def undressed(view: View) -> View:
    """Without terminal escapes and invisible characters; quoted and numbered characters as themselves."""
    for _ in range(MAX_PASSES):
        before = view
        text = view.text
        if view.probe.translate(None, _PLAIN) or (not text.isascii() and _HIDDEN_WIDE.search(text)):
            view = _undress(view, _HIDDEN)
        if "\\" in text:
            view = _undress(view, _BACKSLASH)
        if "%" in view.text:
            view = _undress(view, _PERCENT)
        if "&" in view.text:
            view = _undress(view, _ENTITY)
        if view is before:
            break
    return view


def _undress(view: View, pattern: re.Pattern[str]) -> View:
    text, pieces, done, at = view.text, [], 0, 0
    new = View("", view)
    places, sizes, starts, ends = new._at, new._size, new._from, new._to
    is_percent = pattern is _PERCENT
    for found in pattern.finditer(text):
        sign = _PERCENTS.get(found["percent"].lower()) if is_percent else _said(found)
        if sign is None:
            continue
        start, end = found.span()
        pieces.append(text[done:start])
        pieces.append(sign)
        at += start - done
        places.append(at)
        sizes.append(len(sign))
        starts.append(start)
        ends.append(end)
        at += len(sign)
        done = end
    if not pieces:
        return view
    pieces.append(text[done:])
    new.text = "".join(pieces)
    return new


def _said(found: re.Match[str]) -> str | None:
    """What the match stands for; None to leave it."""
    kind = found.lastgroup
    if kind is None:
        return None if BLANK in found.group() else ""
    if kind == "sign":
        sign = found["sign"]
        return _SIGNS.get(sign, sign)
    if kind in {"colour", "broken"}:
        return ""
    if kind == "entity":
        return unescape("&" + found["entity"])[:1].replace(BLANK, "")
    code = int(found[kind], 8 if kind == "octal" else 16)
    if code < 32:
        return "\n" if code in (10, 13) else " " if code == 9 else ""
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
