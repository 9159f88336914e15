"""Finds what must go: reads the text as it is meant, looks where a head marks a place, tells the source's spans."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from gtftd.scrub.cuts import joined_each
from gtftd.scrub.encodings import Partly, block_around, decoded
from gtftd.scrub.look import Look
from gtftd.scrub.owned import Owned
from gtftd.scrub.probes import CROWD, GLIDING, WINDOW, Mark, scanner
from gtftd.scrub.rules import Rule
from gtftd.scrub.shapes import MIN_RUN, suspicious
from gtftd.scrub.spans import NAMED, PERSON, SHAPE, Hit, Span, merged, span_of
from gtftd.scrub.views import BLANK, View, form_view, source_view, undressed

DEPTH = 3
_LEAST_TEXT = 24
_RUN = re.compile(r"[A-Za-z0-9+/_=.~-]+")
_RUN_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_=.~-"
_CODED = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_MARGIN = " \t\r\n│┃║|>"
_NAME_LENGTH = 120
_REACH = 320
"""A candidate this far before a seam cannot cross it, private keys aside."""


class Finder:
    """Knows the town's own values; everything else are the rules. Holds no state."""

    def __init__(self, known: Owned) -> None:
        self._known = known

    def spans(self, text: str) -> list[Span]:
        """What must go, in the order of the text, without overlap."""
        return self.spans_each([text])[0]

    def spans_each(self, texts: Sequence[str]) -> list[list[Span]]:
        """The same for several texts, which are read together: each pass over a text has its price."""
        sources = [source_view(text) for text in texts]
        return [merged(spans, view.text) for view, spans in zip(sources, self._read(sources, DEPTH), strict=True)]

    def owned_goes_on(self, before: str, after: str) -> bool:
        """Whether one of the town's values may have been cut between these texts."""
        return self._known.may_cross(before, after)

    def crossing(self, view: View) -> list[Span]:
        """What lies across the seams of a view that somebody joined."""
        hits = self._hits(view, *self._marked([view])[0], DEPTH, crossing=True)
        return merged([span_of(view, hit) for hit in hits], "")

    def _read(self, sources: Sequence[View], depth: int) -> list[list[Span]]:
        shown = [*enumerate(sources), *((at, form) for at, view in enumerate(sources) if (form := form_view(view)))]
        bases = [undressed(view) for _, view in shown]
        wholes = joined_each(bases)
        views = [(at, base, False) for (at, _), base in zip(shown, bases, strict=True)]
        views += [(at, whole, True) for (at, _), whole in zip(shown, wholes, strict=True) if whole is not None]
        found: list[list[Span]] = [[] for _ in sources]
        for (at, view, crossing), (marks, owned) in zip(
            views, self._marked([view for _, view, _ in views]), strict=True
        ):
            if marks or owned:
                hits = self._hits(view, marks, owned, depth, crossing=crossing)
                found[at] += [span_of(view, hit) for hit in hits]
        dressed = [at for at, source in enumerate(sources) if bases[at] is not source]
        for at, hits in zip(dressed, self._known.hits_each([sources[at] for at in dressed]), strict=True):
            found[at] += [span_of(sources[at], hit) for hit in hits]
        return found

    def _marked(self, views: Sequence[View]) -> list[tuple[list[Mark], list[Hit]]]:
        marks = scanner().scan_each([view.probe for view in views], readable=True)
        return list(zip(marks, self._known.hits_each(views), strict=True))

    def _inside(self, text: str, depth: int) -> list[Span]:
        """What stands in a text that was found inside of another."""
        return merged(self._read([View(text.replace(BLANK, " "))], depth)[0], "")

    def _hits(self, view: View, marks: list[Mark], owned: list[Hit], depth: int, *, crossing: bool) -> list[Hit]:
        look = Look(view, crossing=crossing)
        look.hits.extend(hit for hit in owned if not crossing or view.seams_within(hit.start, hit.end))
        runs: list[tuple[int, int]] = []
        mixed: list[tuple[int, int]] = []
        past = 0
        marks = self._readable(look, marks)
        for start, what, end in _near_seams(view, marks) if crossing else marks:
            if isinstance(what, Rule):
                look.rule(what, start)
            elif what in ("digits", "letters"):
                if end > past:
                    runs.append(_run_around(view.text, start))
                    past = runs[-1][1]
            elif what == "mixed":
                mixed.append((start + 1, end - 1))
            else:
                look.special(what, start, end)
        if crossing:
            runs = [(start, end) for start, end in runs if view.first_seam(start) < end]
            mixed = [(start, end) for start, end in mixed if view.first_seam(start) < end]
        for start, end in runs:
            if end - start >= MIN_RUN:
                self._run(look, start, end, depth)
        for start, end in mixed:
            look.mixed(start, end)
        return look.hits

    def _readable(self, look: Look, marks: list[Mark]) -> list[Mark]:
        """The marks but for those that stand too close: no such text is worth its time, and all of it goes."""
        crowds = {start // WINDOW for start, what, _ in marks if what == "crowd"}
        if len(marks) <= CROWD and not crowds:
            return marks
        places = {(start, id(what)) for start, what, _ in marks}  # a head that glides along one run is one mark
        counts = Counter(start // WINDOW for start, what in places if (start - 1, what) not in places)
        crowds |= {at for at, count in counts.items() if count > CROWD}
        crowds |= {at for at, count in Counter(start // WINDOW for start, _ in places).items() if count > GLIDING}
        if not crowds:
            return marks
        text, begin = look.view.text, -1
        for at in sorted(crowds):
            begin = at if begin < 0 else begin
            if at + 1 not in crowds:
                start = _run_around(text, begin * WINDOW)[0]
                end = _run_around(text, min(len(text), (at + 1) * WINDOW))[1]  # no rest of what cannot be decoded
                look.hits.append(Hit(start, end, "UNREAD", "crowd", NAMED, False, text[start:end]))
                begin = -1
        return [mark for mark in marks if mark[0] // WINDOW not in crowds]

    def _run(self, look: Look, start: int, end: int, depth: int) -> None:
        """A run may be a text in other clothes; else what no rule explained may have been drawn by chance."""
        text = look.view.text
        if depth > 0 and not look.is_joined and start >= look.block_end and _is_line(text, start, end):
            block = block_around(text, start, end)
            if block is not None:
                look.block_end = block[1]
                if (hidden := decoded(block[2])) is not None:
                    self._coded(look, block[0], block[1], hidden, depth)
        if end - start <= _NAME_LENGTH and _is_plain(text[start:end]) and look.is_free(start, end):
            return
        if depth > 0 and _may_be_coded(text[start : min(end, start + 400)]):
            for at, whole in _coded_parts(text, start, end):
                stop = look.without_words(at, whole)
                hidden = decoded(text[at:stop])
                if hidden is None:
                    continue
                self._coded(look, at, stop, hidden, depth)
        for at, stop in look.free(start, end):
            if stop - at >= 16:
                look.suspects(at, stop)

    def _coded(self, look: Look, start: int, end: int, hidden: str, depth: int) -> None:
        """The whole run goes when the text that it stands for holds something, or too much to read it all."""
        hidden = look.afford(hidden, end - start)
        inner = self._inside(hidden, depth - 1)
        inner = [span for span in inner if span.rank != SHAPE or len(hidden) > 3 * MIN_RUN]
        inner = [span for span in inner if span.rank != PERSON or len(hidden) >= _LEAST_TEXT]
        if not inner and isinstance(hidden, Partly):
            look.add(Hit(start, end, "UNREAD", "packed", NAMED, False, look.view.text[start:end]))
        if inner:
            best = min(inner, key=lambda span: span.rank)
            value = best.value if len(inner) == 1 else hidden
            certain = any(span.certain for span in inner)
            look.add(Hit(start, end, best.kind, f"{best.rule}+coded", best.rank, certain, value))


def _run_around(text: str, start: int) -> tuple[int, int]:
    """The whole run of token characters around a place; what is behind 400 characters to the left is another."""
    found = _RUN.match(text, start)
    end = found.end() if found is not None else start
    head = text[max(0, start - 400) : start]
    return start - (len(head) - len(head.rstrip(_RUN_SIGNS))), end


def _is_line(text: str, start: int, end: int) -> bool:
    """Whether a run may be all that stands on its line."""
    return (start == 0 or text[start - 1] in _MARGIN) and (end >= len(text) or text[end] in _MARGIN)


@lru_cache(maxsize=1 << 15)
def _is_plain(run: str) -> bool:
    """Neither encoded nor drawn by chance, wherever it stands: most of what people write."""
    return not _may_be_coded(run) and not suspicious(run)


@lru_cache(maxsize=1 << 15)
def _may_be_coded(run: str) -> bool:
    """Names of words, joined by whatever, are no code: the cheapest look at the most frequent runs."""
    if len(run) > 64:
        return True
    return any(len(part) >= 16 and _plausible(part) for part in _CODED.findall(run))


def _plausible(part: str) -> bool:
    if part.count("_") + part.count("-") + part.count("/") > 3 and not any(sign.isdigit() for sign in part):
        return False
    return decoded(part) is not None if len(part) <= 64 else True


def _coded_parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a run that may be encoded: what stands between dots and single equals signs."""
    for found in _CODED.finditer(text, start, end):
        yield found.span()


def _near_seams(view: View, marks: Iterable[Mark]) -> Iterator[Mark]:
    """The marks of what may cross a seam."""
    seam = 0
    for mark in marks:
        start, what, end = mark
        if start >= seam:
            seam = view.first_seam(start)
        if (
            what == "key"
            or seam <= end + _REACH
            or ((back := _back(what)) and view.first_seam(start - back) <= end + _REACH)
        ):
            yield mark


def _back(what: Rule | str) -> int:
    return what.back if isinstance(what, Rule) else 0
