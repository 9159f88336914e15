"""A view being looked at: each marked place is confirmed or left, and what crosses a seam must have a reason to."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from functools import cache
from itertools import pairwise
from re import _parser as parser  # type: ignore[attr-defined]

from gtftd.scrub.assignments import flagged, named, told
from gtftd.scrub.cuts import is_edge
from gtftd.scrub.encodings import Partly
from gtftd.scrub.keys import key_end
from gtftd.scrub.personal import email, home, ipv4, ipv6, phone
from gtftd.scrub.randomness import surprise
from gtftd.scrub.rules import Rule, all_rules
from gtftd.scrub.shapes import MIN_RUN, is_harmless_here, is_odd, suspicious
from gtftd.scrub.spans import KNOWN, NAMED, PERSON, SHAPE, TYPED, Hit
from gtftd.scrub.views import BLANK, View
from gtftd.scrub.words import is_mixed_password

_WORD = re.compile(r"[A-Za-z]?[a-z]{1,14}")
_KEY_LIKE = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,40}[\"']?(?::[ \n]| ?=[^=])")
_HEX = re.compile(r"[0-9a-f]{7,}|[0-9A-F]{7,}")
_DOMAIN_PART = re.compile(r"(?:[a-z-]+\.)*[a-z-]+|")
_LEAST_PART = 5
_FARTHEST = 24000
_UNBOUNDED = 1024
"""Read of what a pattern without a bound may match; such are bounded by blanks alone."""
_ROOM = 256 * 1024


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
            return self._is_cut(seam) and (hit.kind != "EMAIL" or _is_address_cut(so_far, more))
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
            return min(len(so_far), len(more)) > _LEAST_PART and _reads_random(so_far) and _reads_random(more)
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


def _is_address_cut(so_far: str, more: str) -> bool:
    """Whether an e-mail address may be cut here: a decorator or a sentence on the next line is no domain."""
    _, at, domain = so_far.partition("@")
    if not at:
        return not more.startswith("@")
    return more[:1].islower() and _DOMAIN_PART.fullmatch(domain) is not None


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


@cache
def _width(rule: Rule) -> int:
    """How far behind its head's beginning a value may reach."""
    most = int(parser.parse(rule.source).getwidth()[1])
    return most + 2 if most <= _FARTHEST else _UNBOUNDED


@cache
def _sizes() -> dict[str, int]:
    return {rule.name: rule.size for rule in all_rules()}


_PERSONAL = {"email": email, "ipv4": ipv4, "ipv6": ipv6, "home": home, "phone": phone}
