"""Formulas as gt's own parser reads them, and what is wrong with one (gastown.md 9.1)."""

from __future__ import annotations

import graphlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

TYPES = ("workflow", "convoy", "expansion", "aspect")
_PARTS = {"workflow": "steps", "convoy": "legs", "expansion": "template", "aspect": "aspects"}
_SUFFIXES = (".formula.toml", ".formula.json", ".toml", ".json")
Table = Mapping[str, object]


@dataclass(frozen=True)
class Variable:
    """Something that a formula is given; `required_unless` names the inputs that make it optional."""

    name: str
    description: str = ""
    required: bool = False
    default: str | None = None
    type: str = ""
    required_unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A step of a workflow, a leg of a convoy, a template of an expansion, or an aspect."""

    id: str
    title: str = ""
    description: str = ""
    needs: tuple[str, ...] = ()
    acceptance: str = ""
    focus: str = ""
    agent: str = ""
    parallel: bool = False
    interactive: bool = False


@dataclass(frozen=True)
class Expansion:
    """`[[compose.expand]]`: this step becomes that formula."""

    target: str
    formula: str


@dataclass(frozen=True)
class Synthesis:
    """What a convoy does with the results of its legs."""

    title: str = ""
    description: str = ""
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Formula:
    """What a formula file says; with `problems` gt would refuse it, and the rest is as far as it could be read."""

    name: str
    description: str = ""
    type: str = ""
    version: int | None = None
    pour: bool = False
    agent: str = ""
    review_only: bool = False
    vars: tuple[Variable, ...] = ()
    inputs: tuple[Variable, ...] = ()
    steps: tuple[Step, ...] = ()
    """Of a workflow, or the templates of an expansion, or the aspects of an aspect."""
    legs: tuple[Step, ...] = ()
    synthesis: Synthesis | None = None
    extends: tuple[str, ...] = ()
    compose: tuple[Expansion, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def is_valid(self) -> bool:
        return not self.problems


def formula_name(path: str) -> str:
    """The file's name without what says that it is a formula."""
    name = PurePath(path).name
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)


def read_formula(path: str, content: bytes) -> Formula:
    """Never raises: a file that cannot be read is a formula with that problem."""
    try:
        loaded = json.loads(content) if path.endswith(".json") else tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        return Formula(formula_name(path), problems=(f"it cannot be parsed: {str(error)[:200]}",))
    if not isinstance(loaded, dict):
        return Formula(formula_name(path), problems=("it must hold a table, and does not",))
    return _Reading(loaded).formula(formula_name(path))


class _Reading:
    """One pass over a loaded file; what has the wrong shape is noted and left out."""

    def __init__(self, loaded: Table) -> None:
        self._loaded = loaded
        self._problems: list[str] = []

    def formula(self, fallback: str) -> Formula:
        loaded = self._loaded
        name = loaded.get("formula")
        if not isinstance(name, str) or not name:
            self._problems.append("`formula` must be a string, the formula's name")
        kind = self._type()
        made = Formula(
            name=name if isinstance(name, str) and name else fallback,
            description=_text(loaded, "description"),
            type=kind,
            version=version if isinstance(version := loaded.get("version"), int) else None,
            pour=loaded.get("pour") is True,
            agent=_text(loaded, "agent"),
            review_only=loaded.get("review_only") is True,
            vars=self._variables("vars"),
            inputs=self._variables("inputs"),
            steps=self._steps(_PARTS.get(kind, "steps") if kind != "convoy" else "steps"),
            legs=self._steps("legs"),
            synthesis=self._synthesis(),
            extends=_texts(loaded.get("extends")),
            compose=self._compose(),
        )
        problems = (*self._problems, *_problems(made))
        return Formula(**{**vars(made), "problems": problems})

    def _type(self) -> str:
        said = self._loaded.get("type")
        if said is None:
            return next((kind for kind, part in _PARTS.items() if self._loaded.get(part)), "workflow")
        if said not in TYPES:
            self._problems.append(f"`type` is {str(said)[:40]!r}, it must be one of {', '.join(TYPES)}")
        return str(said)[:40]

    def _tables(self, part: str) -> Iterator[Table]:
        found = self._loaded.get(part)
        if found is None:
            return
        if not isinstance(found, list):
            self._problems.append(f"`{part}` must be an array of tables, `[[{part}]]`")
            return
        for number, item in enumerate(found, 1):
            if isinstance(item, dict):
                yield item
            else:
                self._problems.append(f"entry {number} of `{part}` is no table")

    def _steps(self, part: str) -> tuple[Step, ...]:
        return tuple(_step(table) for table in self._tables(part))

    def _variables(self, part: str) -> tuple[Variable, ...]:
        found = self._loaded.get(part)
        if found is None:
            return ()
        if not isinstance(found, dict):
            self._problems.append(f"`{part}` must be a table")
            return ()
        return tuple(_variable(str(name), said) for name, said in found.items())

    def _synthesis(self) -> Synthesis | None:
        found = self._loaded.get("synthesis")
        if not isinstance(found, dict):
            return None
        return Synthesis(_text(found, "title"), _text(found, "description"), _texts(found.get("depends_on")))

    def _compose(self) -> tuple[Expansion, ...]:
        found = self._loaded.get("compose")
        listed = found.get("expand") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            return ()
        return tuple(Expansion(_text(item, "target"), _text(item, "with")) for item in listed if isinstance(item, dict))


def _step(table: Table) -> Step:
    return Step(
        id=_text(table, "id"),
        title=_text(table, "title"),
        description=_text(table, "description"),
        needs=_texts(table.get("needs")),
        acceptance=_text(table, "acceptance"),
        focus=_text(table, "focus"),
        agent=_text(table, "agent"),
        parallel=table.get("parallel") is True,
        interactive=table.get("interactive") is True,
    )


def _variable(name: str, said: object) -> Variable:
    if not isinstance(said, dict):
        return Variable(name, description=str(said)[:1000])
    default = said.get("default")
    return Variable(
        name,
        description=_text(said, "description"),
        required=said.get("required") is True,
        default=None if default is None else str(default),
        type=_text(said, "type"),
        required_unless=_texts(said.get("required_unless")),
    )


def _problems(formula: Formula) -> Iterator[str]:
    part = _PARTS.get(formula.type)
    steps = formula.legs if formula.type == "convoy" else formula.steps
    if part and not steps and not (formula.type == "workflow" and formula.extends):
        yield f"a formula of type {formula.type} needs at least one `[[{part}]]`"
    yield from _wrong_ids(part or "steps", steps)
    # what an expansion or an extension refers to may stand in another file
    known = {step.id for step in steps}
    if not formula.extends:
        for step in steps:
            for need in step.needs:
                if need not in known:
                    yield f"{step.id!r} needs {need!r}, which is not there"
    for need in formula.synthesis.depends_on if formula.synthesis else ():
        if need not in known:
            yield f"the synthesis depends on {need!r}, which is not there"
    inputs = {variable.name for variable in formula.inputs}
    for variable in formula.inputs:
        for other in variable.required_unless:
            if other not in inputs:
                yield f"input {variable.name!r} is required unless {other!r}, which is not there"


def _wrong_ids(part: str, steps: Sequence[Step]) -> Iterator[str]:
    seen: set[str] = set()
    for number, step in enumerate(steps, 1):
        if not step.id:
            yield f"entry {number} of `{part}` has no id"
        elif step.id in seen:
            yield f"two entries of `{part}` have the id {step.id!r}"
        seen.add(step.id)
    try:
        graphlib.TopologicalSorter({step.id: step.needs for step in steps}).prepare()
    except graphlib.CycleError as error:
        yield f"a circle: {' needs '.join(map(str, error.args[1][:12]))}"


def _text(table: Table, key: str) -> str:
    found = table.get(key)
    return found if isinstance(found, str) else ""


def _texts(found: object) -> tuple[str, ...]:
    if isinstance(found, str):
        return (found,)
    return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()
