"""The words that options take: a word that nothing is called would find nothing, and look like an answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Literal

import typer

from gtftd.ctl.target import Target
from gtftd.errors import Missing

_UNKNOWN = "unknown"
"""The role of a session of which nobody told."""


def check_choice(option: str, value: str | None, allowed: Sequence[str]) -> None:
    """Raises BadParameter with what there is."""
    if value is not None and value not in allowed:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(allowed)}", param_hint=option)


def check_audience(option: str, roles: Iterable[str]) -> None:
    """Roles of gt, and `all`: whom something can be told."""
    from gtftd.town.identity import FOR_ALL, ROLES

    for role in roles:
        check_choice(option, role, (*ROLES, FOR_ALL))


def check_agents(option: str, roles: Iterable[str]) -> None:
    """Roles of gt alone."""
    from gtftd.town.identity import ROLES

    for role in roles:
        check_choice(option, role, ROLES)


def check_role(target: Target, role: str | None) -> None:
    """Roles that entries may have; those that some have are known too."""
    from gtftd.town.identity import FOR_ALL, ROLES

    if role not in (None, *ROLES):
        known = (*ROLES, FOR_ALL, _UNKNOWN)
        check_choice("--role", role, (*known, *(name for name in _of_entries(target, "role") if name not in known)))


def check_rig(target: Target, rig: str | None) -> None:
    """Rigs of the town, and those that entries are of: a rig may be gone, and its entries are not."""
    if rig is None:
        return
    known = list(dict.fromkeys([*_of_town(target), *_of_entries(target, "rig")]))
    if not known and target.town is None:
        return  # nothing here knows a rig; who does the work may
    check_choice("--rig", rig, known or ("(this town has no rigs)",))


def check_rule(target: Target, rule: str | None) -> None:
    """Conventions that can be broken; one of earlier rules is known as long as an entry has it."""
    if rule is None:
        return
    from gtftd.control.listing import read_entries
    from gtftd.corpus.conventions import RULES
    from gtftd.schemas.corpus_views import EntriesParams

    if rule not in RULES and not read_entries(target.state_dir, EntriesParams(rule=rule, limit=1)).total:
        check_choice("--violations", rule, sorted(RULES))


def _of_town(target: Target) -> list[str]:
    if target.town is None:
        return []
    from gtftd.town.layout import load_town

    return [rig.name for rig in load_town(target.town).rigs]


def _of_entries(target: Target, column: Literal["role", "rig"]) -> list[str]:
    from gtftd.control.listing import reading

    sql = f"SELECT DISTINCT {column} FROM entries WHERE {column} IS NOT NULL ORDER BY {column}"
    with contextlib.suppress(Missing), reading(target.state_dir) as connection:
        return [row[0] for row in connection.execute(sql)]
    return []
