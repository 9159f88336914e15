"""One pass over a text for the heads of all rules: what it reports is looked at more closely, the rest never is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

from gtftd.scrub.rules import Rule, all_rules

_LEAST_ATOM = 8
SPECIAL = {
    "keyword": r"(?i)(?:passw|passphrase|passcode|passwd|pwd|secret|credential|token|api[_ -]?key|access[_ -]?key|private[_-]?key|signing[_-]?key"
    r"|encryption[_-]?key|auth[_-]?key|master[_-]?key|_key|-key|Key|_pass|_pat|_auth|\bpass\b|\bauth\b|_salt|seed|jwt|bearer|hmac|cipher)"
    r"[A-Za-z0-9_.-]{0,40}[\"'`]?\]?[ \t*_`]{0,8}(?:=>|:=|={1,3}|:|,|\||>|\))[ \t\n]{0,8}[^ \t\n]",
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


@dataclass(frozen=True)
class Probed:
    """Where a head was found: from its start to the end of its probe."""

    what: Rule | str
    start: int
    end: int


class Scanner:
    """A compiled database of patterns. Threads take turns: a scan takes milliseconds a megabyte."""

    def __init__(self, patterns: Iterable[tuple[Rule | str, str]]) -> None:
        import hyperscan

        self._what, expressions = zip(*patterns, strict=True)
        self._database: Any = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[expression.encode("ascii", "replace") for expression in expressions],
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=[hyperscan.HS_FLAG_SOM_LEFTMOST | hyperscan.HS_FLAG_DOTALL] * len(expressions),
            ext=[_bounds(hyperscan, what) for what in self._what],
        )
        self._lock = Lock()

    def scan(self, text: bytes) -> list[tuple[int, Rule | str, int]]:
        """Start, what, end: in the order of the text. Of one head that matches at one place many times, the first."""
        found: dict[tuple[int, int], int] = {}

        def note(what: int, start: int, end: int, _flags: int, _context: object) -> None:
            found.setdefault((start, what), end)

        with self._lock:
            self._database.scan(text, match_event_handler=note)
        what_of = self._what
        return [(start, what_of[what], end) for (start, what), end in sorted(found.items())]


def _bounds(hyperscan: Any, what: Rule | str) -> Any:
    """A digit alone begins no secret: an atom needs nine characters and what ends it."""
    if what == "digits":
        return hyperscan.ExpressionExt(hyperscan.HS_EXT_FLAG_MIN_LENGTH, 0, 0, _LEAST_ATOM + 1, 0, 0)
    return hyperscan.ExpressionExt(0, 0, 0, 0, 0, 0)


@cache
def scanner() -> Scanner:
    """The scanner of all rules; compiled at the first text."""
    rules = [(rule, rule.head()) for rule in all_rules()]
    return Scanner([*rules, *SPECIAL.items()])
