"""Finds what must go: reads the text as it is meant, looks where a head marks a place, tells the source's spans."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from re import _parser as parser  # type: ignore[attr-defined]

from gtftd.scrub.assignments import flagged, named, told
from gtftd.scrub.cuts import is_edge, joined_each
from gtftd.scrub.encodings import Partly, block_around, decoded
from gtftd.scrub.keys import key_end
from gtftd.scrub.owned import Owned
from gtftd.scrub.personal import email, home, ipv4, ipv6, phone
from gtftd.scrub.probes import Mark, scanner
from gtftd.scrub.randomness import surprise
from gtftd.scrub.rules import Rule, all_rules
from gtftd.scrub.shapes import MIN_RUN, is_harmless_here, is_odd, suspicious
from gtftd.scrub.spans import KNOWN, NAMED, PERSON, SHAPE, TYPED, Hit, Span, merged, span_of
from gtftd.scrub.views import BLANK, View, source_view, undressed
from gtftd.scrub.words import is_mixed_password

DEPTH = 3
_WORD = re.compile(r"[A-Za-z]?[a-z]{1,14}")
_LEAST_TEXT = 24
_KEY_LIKE = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,40}[\"']?(?::[ \n]| ?=[^=])")
_RUN = re.compile(r"[A-Za-z0-9+/_=.~-]+")
_RUN_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_=.~-"
_CODED = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"[0-9a-f]{7,}|[0-9A-F]{7,}")
_MARGIN = " \t\r\n│┃║|>"
_NAME_LENGTH = 120
_FARTHEST = 24000
_UNBOUNDED = 1024
"""Read of what a pattern without a bound may match; such are bounded by blanks alone."""
_ROOM = 256 * 1024
_WINDOW = 4096
_GLIDING = 3600
_CROWD = 512
"""So many marks in one window are no text that anybody wrote: nine tenths of such a window would be looked at twice."""
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
        bases = [undressed(source) for source in sources]
        wholes = joined_each(bases)
        views = [*bases, *(whole for whole in wholes if whole is not None)]
        marked = iter(self._marked(views))
        found: list[list[Span]] = []
        for base in bases:
            marks, owned = next(marked)
            hits = self._hits(base, marks, owned, depth, crossing=False) if marks or owned else ()
            found.append([span_of(base, hit) for hit in hits])
        for index, whole in enumerate(wholes):
            if whole is not None:
                marks, owned = next(marked)
                hits = self._hits(whole, marks, owned, depth, crossing=True) if marks or owned else ()
                found[index] += [span_of(whole, hit) for hit in hits]
        dressed = [index for index, source in enumerate(sources) if bases[index] is not source]
        for index, hits in zip(dressed, self._known.hits_each([sources[at] for at in dressed]), strict=True):
            found[index] += [span_of(sources[index], hit) for hit in hits]
        return found

    def _marked(self, views: Sequence[View]) -> list[tuple[list[Mark], list[Hit]]]:
        marks = scanner().scan_each([view.probe for view in views])
        return list(zip(marks, self._known.hits_each(views), strict=True))

    def _inside(self, text: str, depth: int) -> list[Span]:
        """What stands in a text that was found inside of another."""
        return merged(self._read([View(text.replace(BLANK, " "))], depth)[0], "")

    def _hits(self, view: View, marks: list[Mark], owned: list[Hit], depth: int, *, crossing: bool) -> list[Hit]:
        look = Look(view, crossing=crossing)
        look.hits.extend(hit for hit in owned if not crossing or view.seams_within(hit.start, hit.end))
        runs: list[tuple[int, int]] = []
        mixed: list[tuple[int, int]] = []
        past = seam = 0
        for start, what, end in self._readable(look, marks):
            if crossing and what != "key":
                if start >= seam:
                    seam = view.first_seam(start)
                if seam > end + _REACH and (not (back := _back(what)) or view.first_seam(start - back) > end + _REACH):
                    continue
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
        for start, end in runs:
            if end - start >= MIN_RUN and (not crossing or view.first_seam(start) < end):
                self._run(look, start, end, depth)
        for start, end in mixed:
            if not crossing or view.first_seam(start) < end:
                look.mixed(start, end)
        return look.hits

    def _readable(self, look: Look, marks: list[Mark]) -> list[Mark]:
        """The marks but for those that stand too close: no such text is worth its time, and all of it goes."""
        if len(marks) <= _CROWD:
            return marks
        places = {(start, id(what)) for start, what, _ in marks}  # a head that glides along one run is one mark
        counts = Counter(start // _WINDOW for start, what in places if (start - 1, what) not in places)
        crowds = {at for at, count in counts.items() if count > _CROWD}
        crowds |= {at for at, count in Counter(start // _WINDOW for start, _ in places).items() if count > _GLIDING}
        if not crowds:
            return marks
        text, begin = look.view.text, -1
        for at in sorted(crowds):
            begin = at if begin < 0 else begin
            if at + 1 not in crowds:
                start = _run_around(text, begin * _WINDOW)[0]
                end = _run_around(text, min(len(text), (at + 1) * _WINDOW))[1]  # no rest of what cannot be decoded
                look.hits.append(Hit(start, end, "UNREAD", "crowd", NAMED, False, text[start:end]))
                begin = -1
        return [mark for mark in marks if mark[0] // _WINDOW not in crowds]

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


class Look:
    """One view being looked at: candidates in, hits out."""

    def __init__(self, view: View, *, crossing: bool) -> None:
        self.view = view
        self.hits: list[Hit] = []
        self.is_joined = crossing
        self.block_end = 0
        self._unpacked = 0
        self._crossing = crossing
        self._past: dict[str, int] = {}
        self._cuts: tuple[int, list[tuple[int, int]]] = (-1, [])

    def add(self, hit: Hit) -> None:
        """Keep the hit; of a joined view only what crosses a seam, and only as far as the parts belong together."""
        if hit.end <= hit.start or BLANK in self.view.text[hit.start : hit.end]:
            return
        if self._crossing:
            end = self._believed_end(hit)
            if not self.view.seams_within(hit.start, end):
                return
            if end != hit.end:
                hit = Hit(hit.start, end, hit.kind, hit.rule, hit.rank, hit.certain)
        self.hits.append(hit)

    def afford(self, hidden: str, packed: int) -> str:
        """The text that was unpacked here, or nothing of it when all that was unpacked so far is too much."""
        if len(hidden) > packed:
            self._unpacked += len(hidden)
            if self._unpacked > _ROOM + 4 * len(self.view.text):
                return Partly()
        return hidden

    def rule(self, rule: Rule, start: int) -> None:
        """A rule's head stands here: confirm it."""
        if start < self._past.get(rule.name, 0):
            return
        text = self.view.text
        if rule.near:
            line = text[max(0, start - 300) : start].rpartition("\n")[2]
            if not any(word in line for word in rule.near):
                return
        if rule.back:
            found = rule.pattern.search(text, max(0, start - rule.back), start + _width(rule))
        else:
            found = rule.pattern.match(text, start)
        if found is None or (rule.back and found.start() > start):
            return
        group = "secret" if "secret" in rule.pattern.groupindex else 0
        if rule.check is not None and not rule.check(found[group]):
            return
        self._past[rule.name] = found.end()
        at, stop = found.span(group)
        stop -= len(found[group]) - len(found[group].rstrip(".,;:)")) if group else 0
        self.add(Hit(at, stop, rule.kind, rule.name, TYPED, rule.certain))

    def special(self, what: str, start: int, end: int) -> None:
        """A place that needs more than a pattern."""
        if start < self._past.get(what, 0):
            return
        text = self.view.text
        found: tuple[int, int, str, bool] | None = None
        rank = NAMED
        match what:
            case "keyword":
                found = named(self.view, start)
            case "flag":
                found = flagged(text, start)
            case "prose":
                found = told(text, start)
            case "key":
                stop = key_end(text, start)
                found = None if stop is None else (start, stop, "PRIVATE_KEY", True)
                rank = TYPED
            case "spaced hex":
                return
            case _:
                rank = PERSON
                found = _PERSONAL[what](text, start, end)
        if found is not None:
            self._past[what] = found[1]
            self.add(Hit(found[0], found[1], found[2], what, rank, found[3]))

    def without_words(self, start: int, end: int) -> int:
        """The end of a joined run without the plain words of following lines."""
        if self._crossing:
            for seam in reversed(self.view.seams_within(start, end)):
                if not _WORD.fullmatch(self.view.text, seam, end):
                    break
                end = seam
        return end

    def suspects(self, start: int, end: int) -> None:
        """The pieces of a run that look random."""
        text = self.view.text
        for at, stop in suspicious(text[start:end]) if end - start <= 4096 else ():
            if self._crossing and is_harmless_here(
                text, start + at, min(start + stop, self.view.first_seam(start + at))
            ):
                continue
            if not is_harmless_here(text, start + at, start + stop):
                self.add(Hit(start + at, start + stop, "SECRET", "random", SHAPE, False))

    def mixed(self, start: int, end: int) -> None:
        """A word with signs in it that reads like a password."""
        if self.free(start, end) == [(start, end)] and is_mixed_password(self.view.text[start:end]):
            self.add(Hit(start, end, "PASSWORD", "mixed", SHAPE, False))

    def is_free(self, start: int, end: int) -> bool:
        """Whether no hit so far covers any of a span."""
        return not self.hits or self.free(start, end) == [(start, end)]

    def free(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of a span that no hit so far covers."""
        if self._cuts[0] != len(self.hits):
            spans = sorted((hit.start, hit.end) for hit in self.hits if hit.rank != PERSON)
            self._cuts = (len(self.hits), spans)
        spans = self._cuts[1]
        parts = []
        for at, stop in spans[max(0, bisect_left(spans, (start, 0)) - 8) : bisect_right(spans, (end, 0))]:
            if stop <= start or at >= end:
                continue
            if at > start:
                parts.append((start, at))
            start = max(start, stop)
        if start < end:
            parts.append((start, end))
        return parts

    def _believed_end(self, hit: Hit) -> int:
        """Where the value really ends: each seam needs a reason to go on behind it."""
        if hit.rank == KNOWN or hit.kind == "PRIVATE_KEY" or hit.value is not None or self._is_quoted(hit):
            return hit.end
        if hit.rule.startswith("phrase."):
            return hit.end
        seams = [*self.view.seams_within(hit.start, hit.end), hit.end]
        for place, following in pairwise(seams):
            if not self._goes_on(hit, place, following):
                return place
        return hit.end

    def _goes_on(self, hit: Hit, seam: int, following: int) -> bool:
        text = self.view.text
        so_far, more = text[hit.start : seam], text[seam:following]
        if hit.rank == PERSON:
            return self._is_cut(seam)
        size = _sizes().get(hit.rule, 0)
        if size and hit.rank == TYPED:
            return len(so_far) < size
        if hit.rank == SHAPE:
            if "," in self._gap(seam) or (len(so_far) >= MIN_RUN and not suspicious(so_far)):
                return False
            if bool(_HEX.fullmatch(so_far)) != bool(_HEX.fullmatch(more)):
                return False
            if self._is_cut(seam):
                return all(_reads_random(part) or (len(part) > 5 and surprise(part) > -0.3) for part in (so_far, more))
            return _reads_random(so_far) and _reads_random(more)
        if _KEY_LIKE.match(text, seam):
            return False
        if self._is_cut(seam):
            return len(more) < 4 or _reads_random(more) or surprise(more) > -0.5
        if hit.rank == TYPED and len(so_far) < 20:
            return True
        return _reads_random(more)

    def _is_quoted(self, hit: Hit) -> bool:
        """Whether quotes around it say where it ends."""
        text = self.view.text
        before, after = text[max(0, hit.start - 1) : hit.start], text[hit.end : hit.end + 1]
        if before != after or before not in ('"', "'", "`"):
            return False
        gaps = [self._gap(seam) for seam in self.view.seams_within(hit.start, hit.end)]
        return not any(sign in gap for gap in gaps for sign in "\"'`,")

    def _gap(self, seam: int) -> str:
        """What was left out at this seam."""
        if self.view.parent is None:
            return ","
        _, start = self.view.above(seam - 1, seam)
        following, _ = self.view.above(seam, seam + 1)
        return self.view.parent.text[start:following]

    def _is_cut(self, seam: int) -> bool:
        """Whether a terminal's edge, or quotes that touch, explain this seam."""
        above = self.view.parent
        if above is None:
            return False
        gap = self._gap(seam)
        if self.view.is_session:
            return not gap and _is_open(self.view.text, seam)
        if "\n" not in gap:
            return "," not in gap
        return is_edge(above.text, self.view.above(seam - 1, seam)[1] + gap.index("\n"))


def _is_open(text: str, seam: int) -> bool:
    """Whether nothing but the seam parts the characters before and behind it."""
    return not text[seam - 1].isspace() and text[seam - 1] not in ".,;:!?" and not text[seam].isupper()


def _reads_random(piece: str) -> bool:
    core = piece.strip(".,;:=-_/")
    if len(core) >= 8:
        return (
            is_odd(core)
            or bool(suspicious(core))
            or (any(s.isdigit() for s in core) and any(s.isalpha() for s in core))
        )
    return any(sign.isdigit() for sign in core) and any(sign.isalpha() for sign in core)


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


def _back(what: Rule | str) -> int:
    return what.back if isinstance(what, Rule) else 0


@cache
def _width(rule: Rule) -> int:
    """How far behind its head's beginning a value may reach."""
    most = int(parser.parse(rule.source).getwidth()[1])
    return most + 2 if most <= _FARTHEST else _UNBOUNDED


@cache
def _sizes() -> dict[str, int]:
    return {rule.name: rule.size for rule in all_rules()}


_PERSONAL = {"email": email, "ipv4": ipv4, "ipv6": ipv6, "home": home, "phone": phone}
