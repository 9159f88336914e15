"""Values that were cut in two: the end of one message and the beginning of the next, read as one text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from gtftd.scrub.cuts import TOKEN, begin_of, last_run, stop_of
from gtftd.scrub.finder import Finder
from gtftd.scrub.spans import Span
from gtftd.scrub.views import View
from gtftd.town.conversation import RawMessage

_KEY_REACH = 4096
_KEY = "-----BEGIN"
_GAP = "\n\0\n"
_EDGE = re.compile(r"[\s…]*\Z")
_LOOK = 160
_LEAST_WHOLE = 6
_FIRST = re.compile(rf"[{TOKEN}]{{1,40}}")
_TELLING = re.compile(r"[0-9@!#$%^&+]|(?:[a-z][A-Z].{0,9}){2}|[a-z]-[a-z]+-[a-z]|_.*_|[A-Z]{6}")
_NAMES = (
    "pass", "pwd", "secret", "token", "key", "cred", "auth", "bearer", "pin", "otp", "code", "seed", "mnemonic",
    "phrase", "://", "-----",
)  # fmt: skip


@dataclass(frozen=True)
class _Piece:
    """A part of message `index`'s content, from `offset` on, that stands at `at` in the joined text."""

    at: int
    index: int
    offset: int
    size: int


class Seams:
    """The spans, by message, of what was found across the seams of a session."""

    def __init__(self, spans: dict[int, list[Span]]) -> None:
        self._spans = spans

    def spans_of(self, index: int) -> list[Span]:
        """The parts that lie in this message's content."""
        return self._spans.get(index, [])

    @staticmethod
    def of(raws: Sequence[RawMessage], finder: Finder, released: Callable[[list[Span]], list[Span]]) -> Seams:
        """Looks at messages in their order, and at those of each role in theirs."""
        found: dict[int, list[Span]] = {}
        chains = [
            range(len(raws)),
            *([i for i, raw in enumerate(raws) if raw.role == role] for role in ("tool", "assistant")),
        ]
        seen: set[tuple[int, ...]] = set()
        for chain in chains:
            kept = tuple(index for index in chain if raws[index].content)
            if len(kept) < 2 or kept in seen:
                continue
            seen.add(kept)
            _look(raws, kept, finder, released, found)
        return Seams(found)


def _look(
    raws: Sequence[RawMessage],
    chain: Sequence[int],
    finder: Finder,
    released: Callable[[list[Span]], list[Span]],
    found: dict[int, list[Span]],
) -> None:
    view, pieces = _joined(raws, chain, finder.owned_goes_on)
    if not view.seams:
        return
    places = [piece.at for piece in pieces]
    for span in released(finder.crossing(view)):
        start, end = span.start, span.end
        for piece in pieces[max(0, bisect_right(places, start) - 1) :]:
            if piece.at >= end:
                break
            begin, stop = max(start, piece.at), min(end, piece.at + piece.size)
            if begin < stop:
                part = replace(span, start=begin - piece.at + piece.offset, end=stop - piece.at + piece.offset)
                found.setdefault(piece.index, []).append(part)


def _joined(
    raws: Sequence[RawMessage], chain: Sequence[int], owned_goes_on: Callable[[str, str], bool]
) -> tuple[View, list[_Piece]]:
    """Heads and tails of the messages in a row, where one may go on with what the last one began.

    The source is the row with its line ends; the view leaves those out at the seams. What is between head and tail of
    a long message, and edges at which nothing was cut, are left out.
    """
    contents = [raws[index].content for index in chain]
    open_at = [_is_open(before, after) or owned_goes_on(before, after) for before, after in pairwise(contents)]
    row = _Row()
    reach = 0
    for place, (index, content) in enumerate(zip(chain, contents, strict=True)):
        goes_on = place > 0 and open_at[place - 1]
        is_cut = place < len(open_at) and open_at[place]
        stop = max(reach, stop_of(content, 0)) if goes_on else 0
        begin = len(content)
        if is_cut:
            reach = _KEY_REACH if _KEY in content[-_KEY_REACH:] else 0
            begin = min(begin_of(content, len(content)), max(0, len(content) - reach))
        if goes_on:
            row.seam(content)
        elif is_cut:
            row.gap()
        if stop and stop >= begin:
            row.add(index, 0, content)
            continue
        if goes_on:
            row.add(index, 0, content[:stop])
        if goes_on and is_cut:
            row.gap()
        if is_cut:
            row.add(index, begin, content[begin:])
    return _without(View("".join(row.parts)), row.seams), row.pieces


def _is_open(before: str, after: str) -> bool:
    """Whether a value may go on in the next message: what touches is no plain word, or a name stands before it."""
    tail, head = before[-_LOOK:].rstrip("… \t\r\n"), after[:_LOOK].lstrip()
    if not tail or not head:
        return False
    right = _FIRST.match(head)
    whole = last_run(tail[-40:]) + (right.group() if right else "")
    if len(whole) >= _LEAST_WHOLE and (not whole.isalpha() or whole.isupper()) and _TELLING.search(whole):
        return True
    line = tail.rpartition("\n")[2][-100:].lower()
    return any(name in line for name in _NAMES)


class _Row:
    """The parts of a joined text, where they come from, and the seams between them."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.pieces: list[_Piece] = []
        self.seams: list[tuple[int, int]] = []
        self._at = 0

    def add(self, index: int, offset: int, part: str) -> None:
        self.pieces.append(_Piece(self._at, index, offset, len(part)))
        self.parts.append(part)
        self._at += len(part)

    def gap(self) -> None:
        """What follows has nothing to do with what was."""
        self.parts.append(_GAP)
        self._at += len(_GAP)

    def seam(self, following: str) -> None:
        """What follows may go on with what was, but for the blanks in between."""
        last = self.parts[-1]
        tail = _EDGE.search(last, max(0, len(last) - 64))
        start = self._at - (len(last) - tail.start() if tail is not None else 0)
        self.seams.append((start, self._at + len(following[:64]) - len(following[:64].lstrip())))


def _without(source: View, seams: list[tuple[int, int]]) -> View:
    view = View("", source)
    view.is_session = True
    pieces: list[str] = []
    done = at = 0
    for start, end in seams:
        pieces.append(source.text[done:start])
        at += max(0, start - done)
        view.add(at, 0, start, end)
        done = end
    pieces.append(source.text[done:])
    view.text = "".join(pieces)
    return view
