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
_ENTITY = re.compile(r"&(?:amp;)*(?P<entity>\#\d{2,6};|\#[xX][0-9a-fA-F]{2,5};|quot;|apos;|amp;|lt;|gt;|nbsp;)")
_PLAIN = bytes(range(32, 127)) + b"\n\t\r"
_HIDDEN_WIDE = re.compile(f"[{_INVISIBLE}\x9b]")
_PERCENTS = {f"{code:02x}": chr(code) for code in (9, 10, *range(32, 127))}
_SIGNS = {"n": "\n", "r": "\r", "t": "\t", "b": "", "f": " ", "0": "", "e": "", "a": "", "v": " "}

TOKEN = r"A-Za-z0-9+/_=.~@:%!#$^&*?-"
_FRAME = "│┃║▏▕|"
_WRAP = re.compile(rf"\n(?<=[{TOKEN}]\n)(?:[ \t]{{1,80}}|(?=[^ \t]))(?:[{_FRAME}>#*+][ \t]{{1,8}})?(?=[{TOKEN}])")
_FRAMED = re.compile(
    rf"[ \t]{{0,8}}[{_FRAME}\r][ \t]{{0,3}}\r?\n[ \t]{{0,80}}(?:[{_FRAME}][ \t]{{0,8}})?(?=[{TOKEN}])"
    rf"|\n(?<=[{TOKEN}]\n)[ \t]{{0,80}}(?:[{_FRAME}>#*+][ \t]{{1,8}})?(?=[{TOKEN}])"
    rf"|(?<=[{TOKEN}])[ \t]{{2,200}}\n[ \t]{{0,80}}(?=[{TOKEN}])"
)
_TOKEN_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_=.~@:%!#$^&*?-"
_FIRST = re.compile(rf"[{TOKEN}]{{1,40}}")
_LEAST_WHOLE = 10
AROUND = 640
_GAP = "\n\0\n"
_TELLING = re.compile(r"[0-9@!#$%^&+]|(?:[a-z][A-Z].{0,9}){2}|[a-z]-[a-z]+-[a-z]")
"""What stands around a place where a value was cut; most line ends are between plain words."""
_STITCH = re.compile(
    r"[\"'`](?<=[A-Za-z0-9+/_=.~%-][\"'`])(?:[ \t]{0,20}(?:[+.&,]|\|\||\.\.)?\s{0,60}[\"'`]{1,2})?"
    r"(?=[A-Za-z0-9+/_=.~%-])"
)


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


def joined(view: View) -> View | None:
    """With the tokens whole that a terminal's edge, a line's end or quotes cut; None where nothing could be cut."""
    text = view.text
    framed = any(sign in text for sign in "│┃║▏\r") or "|\n" in text or "  \n" in text
    seams = [found.span() for found in (_FRAMED if framed else _WRAP).finditer(text)]
    if '"' in text or "'" in text or "`" in text:
        stitches = [found.span() for found in _STITCH.finditer(text)]
        seams = sorted(seams + stitches) if stitches else seams
    kept = _telling(text, seams)
    return _closed(view, kept) if kept else None


def _telling(text: str, seams: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The seams at which a value may have been cut: what touches there is long enough, and no plain words."""
    kept = []
    done = 0
    for start, end in seams:
        if start < done or end <= start:
            continue
        head = text[start - 40 : start] if start > 40 else text[:start]
        tail = _FIRST.match(text, end)
        whole = head[len(head.rstrip(_TOKEN_SIGNS)) :] + (tail.group() if tail else "")
        if len(whole) < _LEAST_WHOLE or (whole.isalpha() and whole[1:].islower()):
            continue
        if _TELLING.search(whole):
            kept.append((start, end))
            done = end
    return kept


def _closed(view: View, seams: list[tuple[int, int]]) -> View:
    """The text around the seams, without them; what is far from any is left out, with a blank in its place."""
    text = view.text
    new = View("", view)
    pieces: list[str] = []
    done = max(0, seams[0][0] - AROUND)
    at = 0
    if done:
        new.add(0, 0, 0, done)
    for place, (start, end) in enumerate(seams):
        far = seams[place - 1][1] + AROUND if place else start
        if place and start - AROUND > far:
            pieces += (text[done:far], _GAP)
            at += far - done
            done = start - AROUND
            new.add(at, len(_GAP), far, done)
            at += len(_GAP)
        pieces.append(text[done:start])
        at += start - done
        new.add(at, 0, start, end)
        done = end
    pieces.append(text[done : done + AROUND])
    new.text = "".join(pieces)
    return new


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
