"""Values that were cut in two: the end of one message and the beginning of the next, read as one text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gtftd.scrub.finder import Finder
from gtftd.scrub.spans import Span
from gtftd.scrub.views import View
from gtftd.town.conversation import RawMessage

_REACH = 2048
_GAP = "\n\0\n"
_EDGE = re.compile(r"[\s…]*\Z")


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
    chain: Iterable[int],
    finder: Finder,
    released: Callable[[list[Span]], list[Span]],
    found: dict[int, list[Span]],
) -> None:
    view, pieces = _joined(raws, chain)
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


def _joined(raws: Sequence[RawMessage], chain: Iterable[int]) -> tuple[View, list[_Piece]]:
    """Heads and tails of the messages in a row; what is between head and tail of a long one is left out.

    The source is the row with its line ends; the view leaves those out at the seams.
    """
    parts: list[str] = []
    pieces: list[_Piece] = []
    seams: list[tuple[int, int]] = []
    at = 0
    for index in chain:
        content = raws[index].content
        if pieces:
            tail = _EDGE.search(parts[-1], max(0, len(parts[-1]) - 64))
            start = at - (len(parts[-1]) - tail.start() if tail is not None else 0)
            lead = len(content[:64]) - len(content[:64].lstrip())
            seams.append((start, at + lead))
        cuts = (
            [(0, content)]
            if len(content) <= 2 * _REACH
            else [(0, content[:_REACH]), (len(content) - _REACH, content[-_REACH:])]
        )
        for place, (offset, part) in enumerate(cuts):
            if place:
                parts.append(_GAP)
                at += len(_GAP)
            pieces.append(_Piece(at, index, offset, len(part)))
            parts.append(part)
            at += len(part)
    source = View("".join(parts))
    return _without(source, seams), pieces


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
