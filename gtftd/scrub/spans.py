"""What was found: spans of a view, spans of the source, and how overlapping ones become one."""

from __future__ import annotations

from dataclasses import dataclass

from gtftd.scrub.views import View

KNOWN, TYPED, NAMED, PERSON, SHAPE = range(5)
"""How much a span tells of what it is: of two that overlap the lower names the union."""


@dataclass(frozen=True)
class Hit:
    """A span of one view that must go."""

    start: int
    end: int
    kind: str
    rule: str
    rank: int
    certain: bool = True
    value: str | None = None


@dataclass(frozen=True)
class Span:
    """A span of the source that must go, and the value that stands there once it is read as meant."""

    start: int
    end: int
    kind: str
    rule: str
    certain: bool
    value: str
    rank: int


def span_of(view: View, hit: Hit) -> Span:
    """The hit in the source."""
    start, end = view.span(hit.start, hit.end)
    value = view.text[hit.start : hit.end] if hit.value is None else hit.value
    return Span(start, end, hit.kind, hit.rule, hit.certain, value, hit.rank)


def merged(spans: list[Span], text: str) -> list[Span]:
    """Without overlap: of two the better ranked names what the wider covers."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda item: (item.start, -item.end, item.rank)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
            continue
        last = kept[-1]
        if span.rank >= PERSON and span.end <= last.end:
            continue
        if span.rank == PERSON and last.rank < PERSON:  # `password@host` is no address of a person
            continue
        if last.rank == PERSON and span.rank < PERSON:
            kept[-1] = span
            continue
        kept[-1] = _union(last, span, text)
    return kept


def _union(first: Span, second: Span, text: str) -> Span:
    start, end = first.start, max(first.end, second.end)
    better = (
        second
        if second.rank < first.rank
        or (second.rank == first.rank and second.end - second.start > first.end - first.start)
        else first
    )
    whole = next((span for span in (better, first, second) if (span.start, span.end) == (start, end)), None)
    value = whole.value if whole is not None else text[start:end] or better.value
    return Span(start, end, better.kind, better.rule, first.certain or second.certain, value, better.rank)
