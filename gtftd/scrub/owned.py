"""The values that this town is known to own, and its people and machines, wherever they stand and in any dress."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from gtftd.scrub.encodings import encodings
from gtftd.scrub.probes import Scanner
from gtftd.scrub.spans import KNOWN, PERSON, Hit
from gtftd.scrub.views import View

_COMMON = frozenset({
    "root", "user", "admin", "test", "local", "localhost", "ubuntu", "debian", "build", "runner", "main", "home", "node", "docker",
    "worker", "server", "master", "agent", "daemon", "mayor", "git", "host",
})  # fmt: skip
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

    def hits(self, view: View) -> list[Hit]:
        """Where they stand in this view; people and machines only as whole words."""
        if self._scanner is None:
            return []
        found: list[Hit] = []
        for start, form, _end in self._scanner.scan(view.probe):
            said = str(form)
            end = start + len(said)
            if view.text[start:end] != said:
                continue
            if said in self._forms:
                kind, value = self._forms[said]
                found.append(Hit(start, end, kind, "known", KNOWN, True, value))
            elif self._people[said] == "HOME" or _is_word(view.text, start, end):
                found.append(Hit(start, end, self._people[said], "owned", PERSON, True))
        return found

    @cached_property
    def _scanner(self) -> Scanner | None:
        literals = [*self._forms, *self._people]
        return Scanner([(form, _quoted(form)) for form in literals]) if literals else None


def _is_word(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return not (before and (before.isalnum() or before in "_.-")) and not (after and (after.isalnum() or after in "_-"))


def _quoted(form: str) -> str:
    """The literal for the scanner: a character that is not ASCII is a question mark there."""
    return "".join(f"\\x{ord(sign) if ord(sign) < 128 else 63:02x}" for sign in form)
