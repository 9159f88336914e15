"""One pass over a text for the heads of all rules: what it reports is looked at more closely, the rest never is."""

# ruff: noqa: E501  (a table of patterns)
from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from gtftd.scrub.compiled import cache_folder, database_of
from gtftd.scrub.rules import Rule, all_rules

_LEAST_ATOM = 8
SPECIAL = {
    "keyword": r"(?i)(?:passw|passphrase|passcode|passwd|pwd|secret|credential|token|api[_ -]?key|access[_ -]?key|private[_-]?key|signing[_-]?key"
    r"|encryption[_-]?key|auth[_-]?key|master[_-]?key|_key|-key|Key|_pass|_pat|_auth|\bpass\b|\bauth\b|_salt|seed|jwt|bearer|hmac|cipher)"
    r"[A-Za-z0-9_.-]{0,40}[\"'`]{0,5}\]?[ \t*_`]{0,8}(?:=>|:=|={1,3}|:|,|\||>|\))[ \t\n]{0,8}[^ \t\n]",
    "flag": r"(?i)--?[a-z-]{0,24}(?:passw|pass|pwd|secret|token|key|credential|auth)[a-z-]{0,16}[ \t]{1,4}[^ \t\n-]",
    "prose": r"(?i)(?:passwords?|passphrase|passcode|passwd|secret|token|api[ -]?key|access[ -]key|credentials?|creds|login|pw|pwd|pass)[ \t:][^\n]",
    "digits": r"[A-Za-z]*[0-9][A-Za-z0-9]*[^A-Za-z0-9]",
    "letters": r"[A-Za-z]{16,}[^A-Za-z0-9]",
    "mixed": r"[\s\"'`][A-Za-z0-9_.+=~-]{1,20}[!@#$%^&*?][A-Za-z0-9_.+=~!@#$%^&*?-]{6,60}[\s\"'`]",
    "email": r"[A-Za-z0-9._%+'-]@(?:[A-Za-z0-9-]{1,63})\.[A-Za-z]",
    "ipv4": r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}",
    "ipv6": r"[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){3}|::[0-9A-Fa-f]|[0-9A-Fa-f]::",
    "home": r"/home/[A-Za-z0-9_]|/Users/[A-Za-z0-9_]|\\Users\\[A-Za-z0-9_]|[A-Za-z]:.{0,3}Users.{1,3}[A-Za-z0-9_]|-home-[A-Za-z0-9_]|-Users-[A-Za-z0-9_]",
    "phone": r"\+\d[\d ().\x2d]{6}|\(\d{2,5}\)[ .\x2d]{0,2}\d{2,4}|[^\w.]\d{2,5}[-. /]\d{2,4}[-. ]\d{2,4}|(?i)(?:tel|phone|mobile|call|cell|fax|whatsapp|sms)[.: ]{1,3}[+(\d]",
    "key": r"-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY",
    "spaced hex": r"[0-9a-fA-F]{2}(?:[ :,]{1,2}(?:0x)?[0-9a-fA-F]{2}){15}",
}
"""What is no rule of one shape; each has code of its own. Patterns of the scanner, not of `re`."""


Mark = tuple[int, "Rule | str", int]
"""Start, what, end of a place that wants a closer look."""

_PART = b"\0" * 32
"""Stands between texts that are scanned together: no head reaches over it."""
_END = b"\n\n"
_DENSE = 16
"""Written text has a mark in some 200 bytes; with more than one in so many a text is looked at window by window."""
WINDOW = 4096
CROWD = 512
"""So many marks in one window are no text that anybody wrote: nine tenths of such a window would be looked at twice."""
GLIDING = 3600
"""The same with those that only glide along one run: a head that matches at each place of it."""
_WHAT_BITS = 24
_WHATS = (1 << _WHAT_BITS) - 1


class Scanner:
    """A compiled database of patterns. Threads take turns: a scan takes milliseconds a megabyte."""

    def __init__(self, patterns: Iterable[tuple[Rule | str, str]], *, cache: Path | None = None) -> None:
        self._what, expressions = zip(*patterns, strict=True)
        heads = [expression.encode("ascii", "replace") for expression in expressions]
        shortest = [_LEAST_ATOM + 1 if what == "digits" else 0 for what in self._what]
        self._database: Any = database_of(heads, shortest, cache=cache)
        self._lock = Lock()

    def scan_each(self, texts: Sequence[bytes], *, readable: bool = False) -> list[list[Mark]]:
        """The marks in each text, in its order; of one head that matches at one place many times, the first. All texts
        are read in one pass, since each pass has its price.

        With `readable`, a window that is too crowded to be read may come back without all of its marks, and with one
        that says `crowd`.
        """
        if not texts:
            return []
        begins = [len(_PART)]
        for text in texts:
            begins.append(begins[-1] + len(text) + len(_BETWEEN))
        whole = _PART + _BETWEEN.join(texts) + _END
        with self._lock:
            found = self._found(whole, len(whole) // _DENSE if readable else len(whole) * len(self._what))
            crowded: set[tuple[int, int]] = set()
            if found is None:
                found, crowded = self._found_in_readable(whole, begins)
        marks: list[list[Mark]] = [[] for _ in texts]
        for index, window in crowded:
            marks[index].append((max(0, window) * WINDOW, "crowd", 0))
        what_of, begin, stop, into = self._what, 0, -1, marks[0]
        for key in sorted(found):
            start, end = key >> _WHAT_BITS, found[key]
            if start >= stop - 1:
                index = bisect_right(begins, start + 1) - 1
                begin, stop = begins[index], begins[index + 1]
                into = marks[index]
            if end <= stop - len(_PART):
                into.append((start - begin if start > begin else 0, what_of[key & _WHATS], end - begin))
        return marks

    def _found(self, whole: bytes, most: int) -> dict[int, int] | None:
        """The end of each match by start and pattern, in one number; None when there are too many."""
        found: dict[int, int] = {}

        def note(what: int, start: int, end: int, _flags: int, _context: object) -> bool:
            found.setdefault(start << _WHAT_BITS | what, end)
            return len(found) > most

        self._scan(whole, note)
        return found if len(found) <= most else None

    def _found_in_readable(self, whole: bytes, begins: Sequence[int]) -> tuple[dict[int, int], set[tuple[int, int]]]:
        """The same, but for what follows in a window once it is known to be crowded; and these, by text and window."""
        found: dict[int, int] = {}
        crowded: set[tuple[int, int]] = set()
        single: Counter[tuple[int, int]] = Counter()
        gliding: Counter[tuple[int, int]] = Counter()
        index, begin, stop = 0, begins[0], begins[1]
        left, left_to = 0, 0  # the last window that was left: most of what follows starts in it

        def note(what: int, start: int, end: int, _flags: int, _context: object) -> None:
            nonlocal index, begin, stop, left, left_to
            if left <= start < left_to:
                return
            if not begin <= start < stop:
                index = min(max(0, bisect_right(begins, start) - 1), len(begins) - 2)
                begin, stop = begins[index], begins[index + 1]
            window = (index, (start - begin) // WINDOW)
            key = start << _WHAT_BITS | what
            if window in crowded or key in found:
                return
            found[key] = end
            (gliding if key - (1 << _WHAT_BITS) in found else single)[window] += 1
            if single[window] > CROWD or single[window] + gliding[window] > GLIDING:
                crowded.add(window)
                left = begin + window[1] * WINDOW
                left_to = min(left + WINDOW, stop)

        self._scan(whole, note)
        return found, crowded

    def _scan(self, whole: bytes, note: Callable[[int, int, int, int, object], bool | None]) -> None:
        import hyperscan

        with suppress(hyperscan.ScanTerminated):
            self._database.scan(whole, match_event_handler=note)


_BETWEEN = _END + _PART


@cache
def scanner() -> Scanner:
    """The scanner of all rules; compiled at the first text."""
    rules = [(rule, rule.head()) for rule in all_rules()]
    return Scanner([*rules, *SPECIAL.items()], cache=cache_folder())
