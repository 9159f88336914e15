"""A training as the variables of a formula: for whom, on what, and every setting by a plain name.

A variable is called like the setting: by its last word where only one setting has it (`learning_rate`, `rank`), or with
an underscore for the dot (`optimizer_learning_rate`, `lora_rank`). Other variables of a formula are its own affair.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gtftd.errors import Invalid, Missing
from gtftd.town.formula import Formula, Variable, read_formula
from gtftd.training.settings import Given, names, parse_value, read_small

ORDERED: Mapping[str, str] = {
    "role": "role", "task": "task", "snapshot": "snapshot", "base": "base", "base_model": "base", "parent": "parent",
}  # fmt: skip
"""Variables that say what is trained on what, and what the order calls it."""
_SUFFIXES = (".formula.toml", ".formula.json")
_MOST_BYTES = 1024 * 1024
_NEAR = 0.8


@dataclass(frozen=True)
class Recipe:
    """What a formula says of a training."""

    formula: str
    ordered: Mapping[str, str] = field(default_factory=dict)
    given: tuple[Given, ...] = ()


def find_formula(named: str, town: Path, *, here: Path, home: Path) -> Formula:
    """A file, or a name that is looked up where gt looks. Raises Missing, and Invalid for what gt would refuse."""
    path = Path(named).expanduser()
    if not named.endswith((".toml", ".json")):
        if "/" in named or named.startswith("."):
            raise Invalid(f"--formula {named!r} is neither the name of a formula nor a file *.toml or *.json")
        folders = [folder / ".beads" / "formulas" for folder in (here, town, home)]
        found = [folder / f"{named}{suffix}" for folder in folders for suffix in _SUFFIXES]
        known = next((file for file in found if file.is_file()), None)
        if known is None:
            raise Missing(f"there is no formula {named!r} in {', '.join(map(str, folders))}")
        path = known
    formula = read_formula(str(path), read_small(path, _MOST_BYTES, "a formula"))
    if not formula.is_valid:
        raise Invalid(f"{path}: {'; '.join(formula.problems[:3])}")
    return formula


def read_recipe(formula: Formula, typed: Sequence[str]) -> Recipe:
    """`typed`: `name=value`, as for `--var`. Raises Invalid for a variable that the formula has not, or wants."""
    declared = {variable.name: variable for variable in (*formula.vars, *formula.inputs)}
    given = dict(_split(formula, one, declared) for one in typed)
    settings = settings_by_variable()
    ordered: dict[str, str] = {}
    values: list[Given] = []
    for name, variable in declared.items():
        text = given.get(name, variable.default)
        if text is None and variable.required and not any(other in given for other in variable.required_unless):
            raise Invalid(f"formula {formula.name} wants {name}: --var {name}=...")
        if not text:  # gt knows no variable without a value: an empty one is none
            continue
        origin = f"formula {formula.name}" + (f", --var {name}" if name in given else "")
        if name in ORDERED:
            ordered[ORDERED[name]] = text
        elif name in settings:
            values.append(Given(settings[name], parse_value(text, origin), origin))
        else:
            _check_spelling(formula, name, settings)
    return Recipe(formula.name, ordered, tuple(values))


def settings_by_variable() -> Mapping[str, str]:
    """Name of a variable -> dotted name of the setting."""
    dotted = list(names())
    shared = Counter(name.rpartition(".")[2] for name in dotted)
    found = {name.replace(".", "_"): name for name in dotted}
    return found | {last: name for name in dotted if shared[last := name.rpartition(".")[2]] == 1}


def _split(formula: Formula, typed: str, declared: Mapping[str, Variable]) -> tuple[str, str]:
    name, equals, text = typed.partition("=")
    if not equals:
        raise Invalid(f"--var {typed!r}: write it as name=value")
    if name not in declared:
        raise Invalid(f"formula {formula.name} has no variable {name!r}; it has {', '.join(declared) or 'none'}")
    return name, text


def _check_spelling(formula: Formula, name: str, settings: Mapping[str, str]) -> None:
    near = difflib.get_close_matches(name, [*settings, *ORDERED], n=1, cutoff=_NEAR)
    if near:
        raise Invalid(f"formula {formula.name}: the variable {name!r} is no setting; did you mean {near[0]}?")
