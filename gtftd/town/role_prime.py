"""What `gt prime` tells a role at the start, put together from gt's own files (gastown.md 7.1, 7.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Invalid, Missing
from gtftd.town.formula import Formula, read_formula
from gtftd.town.role_template import render, split

ROLES = Path("internal/templates/roles")
_FORMULAS = Path("internal/formula/formulas")
_TOWN_FILE = Path("internal/templates/townroot/claude.md")
_PRIME_FILE = Path(".beads/PRIME.md")
_WORK = {"polecat": "mol-polecat-work"}
_PATROL = {"deacon": "mol-deacon-patrol", "witness": "mol-witness-patrol", "refinery": "mol-refinery-patrol"}
_SUMMARY = 120
SAMPLE: Mapping[str, str] = {
    "RigName": "gastown",
    "TownRoot": "/home/user/gt",
    "Polecat": "nux",
    "DogName": "alpha",
    "IssuePrefix": "gt",
    "DefaultBranch": "main",
    "MayorSession": "hq-mayor",
    "DeaconSession": "hq-deacon",
}
"""Plausible values; a longer name changes a count by a token or two."""
_FOLDERS = {
    "mayor": "mayor",
    "deacon": "deacon",
    "boot": "deacon/dogs/boot",
    "dog": "deacon/dogs/alpha",
    "polecat": "gastown/polecats/nux/gastown",
    "crew": "gastown/crew/nux",
    "witness": "gastown/witness",
    "refinery": "gastown/refinery/rig",
}


@dataclass(frozen=True)
class Piece:
    """One part of what a session begins with; `later`: agents are told to read it, `gt prime` does not print it."""

    source: str
    name: str
    text: str
    later: bool = False


def roles_in(checkout: Path) -> list[str]:
    """The roles that have a template. Raises Missing for a folder that is no checkout of gt."""
    found = sorted(path.name.removesuffix(".md.tmpl") for path in (checkout / ROLES).glob("*.md.tmpl"))
    if not found:
        raise Missing(f"{checkout} holds no role templates: there is no {ROLES}/*.md.tmpl in it; give a checkout of gt")
    return found


def role_prime(checkout: Path, role: str) -> Iterator[Piece]:
    """Everything that a session of this role begins with, in the order in which gt prints it."""
    fields = {**SAMPLE, "WorkDir": f"{SAMPLE['TownRoot']}/{_FOLDERS.get(role, role)}"}
    template = checkout / ROLES / f"{role}.md.tmpl"
    for part in split(render(_read(template), fields, name=template.name)):
        yield Piece("role template", part.heading, part.text)
    if role in _WORK:
        formula = _formula(checkout, _WORK[role])
        yield Piece("formula", f"{formula.name}, its steps", _steps(formula))
    if role in _PATROL:
        formula = _formula(checkout, _PATROL[role])
        yield Piece("formula", f"{formula.name}, its summary", _summary(formula))
    yield Piece("town CLAUDE.md", "", render(_read(checkout / _TOWN_FILE), fields, name=_TOWN_FILE.name))
    yield Piece("PRIME.md", "", _read(checkout / _PRIME_FILE))
    if role in _PATROL:
        yield Piece("formula", f"{_PATROL[role]}, in full", _read(_formula_file(checkout, _PATROL[role])), later=True)


def _steps(formula: Formula) -> str:
    """As gt prints the work of a polecat: every step in full."""
    steps = [f"### Step {n}: {step.title}\n\n{step.description}\n\n" for n, step in enumerate(formula.steps, 1)]
    return f"\n**Formula Checklist** ({len(steps)} steps from {formula.name}):\n\n{''.join(steps)}"


def _summary(formula: Formula) -> str:
    """As gt prints a patrol: the first line of each step, cut."""
    lines = [f"  {n}. **{step.title}** — {_first_line(step.description)}\n" for n, step in enumerate(formula.steps, 1)]
    return f"\n**Patrol Steps** ({len(lines)} steps from {formula.name}):\n{''.join(lines)}\n"


def _first_line(text: str) -> str:
    first = text.strip("\n").split("\n", 1)[0].strip()
    return first if len(first) <= _SUMMARY else first[: _SUMMARY - 3] + "..."


def _formula(checkout: Path, name: str) -> Formula:
    path = _formula_file(checkout, name)
    formula = read_formula(path.name, _read(path).encode())
    if not formula.steps:
        raise Invalid(f"{path} has no steps ({'; '.join(formula.problems) or 'none are in it'})")
    return formula


def _formula_file(checkout: Path, name: str) -> Path:
    return checkout / _FORMULAS / f"{name}.formula.toml"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise Missing(f"there is no {path}; give a checkout of gt with all of its templates and formulas") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {path}: {error}") from error
