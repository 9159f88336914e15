"""The values that this town is known to own, and its people and machines, wherever they stand and in any dress."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from gtftd.scrub.encodings import encodings
from gtftd.scrub.probes import Mark, Scanner
from gtftd.scrub.spans import KNOWN, PERSON, Hit
from gtftd.scrub.views import View

_COMMON = frozenset({
    "root", "user", "admin", "test", "local", "localhost", "ubuntu", "debian", "build", "runner", "main", "home",
    "node", "docker", "worker", "server", "master", "agent", "daemon", "mayor", "git", "host",
})  # fmt: skip
_MARGIN = b" \t\r\n|?"
"""What stands where a terminal folds a line; frames and arrows are question marks in a probe."""
_LEAST_FOLDED = 6
_LEAST_CUT = 3
_CROSSED = 128
_FEW = 8
_SMALL = 3
"""A name of three letters or fewer hides nobody."""


class Owned:
    """Literal values by kind. The scanner for them is compiled at the first text."""

    def __init__(
        self, values: Mapping[str, str], *, home: str | None, users: Iterable[str], hosts: Iterable[str]
    ) -> None:
        self._forms: dict[str, tuple[str, str]] = {}
        for name, value in values.items():
            kind = re.sub(r"[^A-Z0-9_]", "_", name.upper()).strip("_0123456789")[:40] or "SECRET"
            for form in encodings(value):
                self._forms.setdefault(form, (kind, value))
        self._people: dict[str, str] = {}
        if home and home not in ("/", "/root") and not home.startswith(("/home/", "/Users/")):
            self._people[home] = "HOME"
        for names, kind in ((users, "USER"), (hosts, "HOST")):
            chosen = (name for name in names if len(name) > _SMALL and name.lower() not in _COMMON)
            self._people.update({name: self._people.get(name, kind) for name in chosen})

    def hits_each(self, views: Sequence[View]) -> list[list[Hit]]:
        """Where they stand in each view, people and machines only as whole words; all views are read in one pass."""
        if self._scanner is None or not views:
            return [[] for _ in views]
        probes = [view.probe for view in views]
        whole = self._scanner.scan_each(probes)
        hits = [self._confirmed(view, marks) if marks else [] for view, marks in zip(views, whole, strict=True)]
        if self._squeezed is not None:
            squeezed = self._squeezed.scan_each([probe.translate(None, _MARGIN) for probe in probes])
            for index, marks in enumerate(squeezed):
                if len(marks) > sum(len(_bare(str(form))) >= _LEAST_FOLDED for _, form, _ in whole[index]):
                    hits[index].extend(self._folded(views[index], marks))
        return hits

    def may_cross(self, before: str, after: str) -> bool:
        """Whether one of the values may begin at the end of one text and go on in the next. A few lookups."""
        tail = _bare(before[-_CROSSED:])
        begun = [tail[found.start() :] for found in self._opening.finditer(tail)]
        if not begun:
            return False
        head = _bare(after[:_CROSSED])
        return any(head.startswith(rest[: len(head)]) for part in begun for rest in self._beginnings.get(part, ()))

    def _confirmed(self, view: View, marks: Iterable[Mark]) -> list[Hit]:
        found: list[Hit] = []
        for start, form, _end in marks:
            said = str(form)
            end = start + len(said)
            if view.text[start:end] == said:
                found += self._hit(view, start, end, said)
        return found

    def _hit(self, view: View, start: int, end: int, said: str) -> Iterator[Hit]:
        if said in self._forms:
            kind, value = self._forms[said]
            yield Hit(start, end, kind, "known", KNOWN, True, value)
        elif self._people[said] == "HOME" or _is_word(view.text, start, end):
            yield Hit(start, end, self._people[said], "owned", PERSON, True, said)

    def _folded(self, view: View, marks: Iterable[Mark]) -> Iterator[Hit]:
        """Where they stand with line ends, margins or blanks in between, as a terminal folds them."""
        probe = view.probe
        marks = list(marks)
        places = [place for place, sign in enumerate(probe) if sign not in _MARGIN] if len(marks) > _FEW else None
        for at, form, _end in marks:
            said = str(form)
            last = at + len(_bare(said)) - 1
            start, end = (places[at], places[last]) if places else (_place(probe, at), _place(probe, last))
            end += 1
            gaps = probe[start:end]
            if (gaps.count(b"\n") or view.is_session) and len(gaps) < len(said) + 400 * max(1, gaps.count(b"\n")):
                yield from self._hit(view, start, end, said)

    @cached_property
    def _beginnings(self) -> Mapping[bytes, Sequence[bytes]]:
        """What follows each beginning of a value, blanks left out."""
        found: dict[bytes, list[bytes]] = {}
        for bare in {_bare(value) for _, value in self._forms.values()}:
            for cut in range(_LEAST_CUT, min(len(bare), _CROSSED) - _LEAST_CUT + 1):
                found.setdefault(bare[:cut], []).append(bare[cut:_CROSSED])
        return found

    @cached_property
    def _opening(self) -> re.Pattern[bytes]:
        """The first bytes of every value, wherever they stand."""
        shortest = {part for part in self._beginnings if len(part) == _LEAST_CUT}
        return re.compile(b"(?=" + (b"|".join(map(re.escape, sorted(shortest))) or b"(?!)") + b")")

    @cached_property
    def _scanner(self) -> Scanner | None:
        literals = [*self._forms, *self._people]
        return Scanner([(form, _quoted(form)) for form in literals]) if literals else None

    @cached_property
    def _squeezed(self) -> Scanner | None:
        literals = [form for form in (*self._forms, *self._people) if len(_bare(form)) >= _LEAST_FOLDED]
        return Scanner([(form, _quoted(_bare(form).decode())) for form in literals]) if literals else None


def _place(probe: bytes, index: int) -> int:
    """Where the character stands that is the one of this index once margins are gone."""
    return bisect_left(range(len(probe)), index + 1, key=lambda stop: len(probe[:stop].translate(None, _MARGIN))) - 1


def _bare(form: str) -> bytes:
    return form.encode("ascii", "replace").translate(None, _MARGIN)


def _is_word(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return not (before and (before.isalnum() or before in "_.-")) and not (after and (after.isalnum() or after in "_-"))


def _quoted(form: str) -> str:
    """The literal for the scanner: a character that is not ASCII is a question mark there."""
    return "".join(f"\\x{ord(sign) if ord(sign) < 128 else 63:02x}" for sign in form)
