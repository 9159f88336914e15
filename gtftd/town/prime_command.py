"""The command with which gt primes a session, and how our script is put before it and taken out again."""

from __future__ import annotations

import re
from pathlib import Path

from gtftd.town.hook_script import quoted

TRAP = "export PATH="
"""gt writes a settings file anew at the next start of an agent when this stands anywhere in it (gastown.md 3.2)."""
_ASSIGNED = r"""(?:[A-Za-z_]\w*=(?:'[^']*'|"[^"]*"|[^\s'";&|<>()]*)[ \t]+)*"""
_PRIME = r"""(?:'[^'\n]*/gt'|"[^"\n]*/gt"|[^\s'"`;&|<>()]*/gt|gt) prime --hook"""
_PLAIN = re.compile(
    rf"(?P<before>^|(?<!>)&|[;|({{!]|\bthen\b|\bdo\b)(?P<blank>\s*)"
    rf"(?P<assigned>{_ASSIGNED})(?P<prime>{_PRIME})(?=\s*(?:$|[;|&)}}<>]|\d>))"
)
_WRAPPED = re.compile(
    rf"if \[ -x (?P<script>'(?:[^']|'\\'')*/hooks/gtftd-prime') \]; "
    rf"then (?P<assigned>{_ASSIGNED})(?P=script) (?P<prime>{_PRIME}); else (?P=assigned)(?P=prime); fi"
)
_EXPORT = re.compile(r"""export PATH=("[^"]*"|'[^']*'|[^\s;&|"']+)(?=\s*(?:&&|;))""")
_SPELLED = re.compile(r"""(?<![\w=])PATH=("[^"]*"|'[^']*'|[^\s;&|"']+) && export PATH(?=\s*(?:&&|;))""")


def wrap(command: str, script: Path) -> str:
    """Each `gt prime --hook` behind our script, where there is one; the rest as it is. Twice is the same as once.

    gt's own command stands there too, for the day on which our script is gone.
    """
    ours = quoted(script)

    def put(found: re.Match[str]) -> str:
        before, blank, assigned, prime = found.group("before", "blank", "assigned", "prime")
        return f"{before}{blank}if [ -x {ours} ]; then {assigned}{ours} {prime}; else {assigned}{prime}; fi"

    return _PLAIN.sub(put, unwrap(command))


def unwrap(command: str) -> str:
    """What was there before, whichever state directory the script is of."""
    return _WRAPPED.sub(lambda found: found["assigned"] + found["prime"], command)


def wrapped_by(command: str) -> list[str]:
    """The scripts that stand before gt in this command, as they are quoted there."""
    return [found["script"] for found in _WRAPPED.finditer(command)]


def is_prime(command: str) -> bool:
    """Does gt prime here in a form that `wrap` knows?"""
    return _PLAIN.search(unwrap(command)) is not None


def spell(command: str) -> str:
    """The same in words that do not make gt write the file anew."""
    return _EXPORT.sub(r"PATH=\1 && export PATH", command)


def unspell(command: str) -> str:
    return _SPELLED.sub(r"export PATH=\1", command)
