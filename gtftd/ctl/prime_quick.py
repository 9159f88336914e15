"""`gtftctl prime` without typer, which takes longer to import than everything else takes together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gtftd.ctl.prime_ask import Asked
from gtftd.ctl.prime_run import Wanted, begin
from gtftd.town.identity import parse_role

_FLAGS = ("--hook", "--full", "--reduced")
_VALUES = ("--role", "--rig", "--bead", "--town", "--state-dir", "--config")


def run_quickly(words: Sequence[str]) -> bool:
    """Do it, or say False: these words are for typer, which knows the other commands and what to say of mistakes."""
    wanted = understood(words)
    if wanted is None:
        return False
    begin(wanted)
    return True


def understood(words: Sequence[str]) -> Wanted | None:
    """The options of `gtftctl prime`; None for any word that is none of them."""
    flags: set[str] = set()
    values: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            flags.add(word)
        elif name in _VALUES:
            values[name] = value if equals else next(rest, "")
        else:
            return None
    if not all(values.values()) or {"--full", "--reduced"} <= flags:
        return None
    if "--role" in values and parse_role(values["--role"]) is None:
        return None
    asked = Asked(values.get("--role"), values.get("--rig"), values.get("--bead"), forced="--reduced" in flags)
    paths = [Path(values[name]) if name in values else None for name in ("--town", "--state-dir", "--config")]
    return Wanted(asked, "--hook" in flags, "--full" in flags, *paths)
