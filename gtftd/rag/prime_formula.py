"""The formula at hand: its steps by name, and the one to do in full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath

from gtftd.rag.fence import Provenance
from gtftd.rag.picture import Named
from gtftd.rag.prime_view import View, Work, fenced, id_of
from gtftd.rag.stored import StoredChunk

OF_ROLE = {
    "polecat": "mol-polecat-work",
    "deacon": "mol-deacon-patrol",
    "witness": "mol-witness-patrol",
    "refinery": "mol-refinery-patrol",
    "boot": "mol-boot-triage",
}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_OPENING = re.compile(r'(?:step |id = ")([^\s:"]{1,100})')
"""How the first chunk of a step begins; see `gtftd.rag.chunking`."""
MOST_CHILDREN = 40
_LIST_TOKENS = 160
"""Longer lists of steps show ids alone."""


@dataclass(frozen=True)
class Step:
    id: str
    title: str
    chunks: tuple[StoredChunk, ...]

    @property
    def text(self) -> str:
        """Without the fields that name it, which are told above."""
        parts = []
        for number, chunk in enumerate(self.chunks):
            _, _, below = chunk.heading.partition(" > ")
            text = chunk.text.partition("\n\n")[2] if number == 0 else chunk.text
            parts.append(f"[{below}]\n{text}" if below else text)
        return "\n\n".join(part.strip() for part in parts if part.strip())


@dataclass(frozen=True)
class Attached:
    """A formula with its steps, as the index has it."""

    name: str
    document: str
    steps: tuple[Step, ...]
    rig: str | None


def find_formula(view: View, work: Work) -> Attached | None:
    """Of the bead, else of the role: the rig's own, else the town's. None where neither is indexed with steps."""
    for name in _names(view, work):
        for found in sorted(filter(lambda one: view.may_see(one.rig), view.picture.formulas(name)), key=_own_first):
            steps = _steps(view.chunks(found.document))
            if steps:
                return Attached(name, found.document, steps, found.rig)
    return None


def tell_formula(view: View, work: Work, formula: Attached, limit: int) -> str:
    """The section; empty where nothing fits."""
    at = _at(view, work, formula)
    step = formula.steps[at] if at is not None else formula.steps[0]
    head = f"## Formula {id_of(formula.name)}: "
    if at is None:
        head += f"step `{id_of(view.params.step or '', 60)}` is not in it as indexed; `gt prime` shows it. Begins:"
    else:
        head += f"step {at + 1} of {len(formula.steps)}, {id_of(step.id)}"
    if "gt prime" in step.text:
        head += " (you are primed: run neither `gt prime` nor `bd prime` for it)"
    text = step.text.replace("{{issue}}", id_of(work.card.bead)) if work.card else step.text
    now = f"Now {step.id}: {step.title}\n{text}"
    room = limit - view.counter.count(f"{head}\n")
    body = fenced(
        view,
        f"{_steps_in(formula, view, room // 3)}\n\n{now}",
        _about(formula, step),
        room,
        _rest(formula),
        kind="instructions",
    )
    return f"{head}\n{body}" if body else ""


def _steps_in(formula: Attached, view: View, room: int) -> str:
    """All steps, one a line where there is room, else by their ids."""
    numbered = "\n".join(f"{number}. {one.id}: {one.title}" for number, one in enumerate(formula.steps, 1))
    if view.counter.count(numbered) <= min(room, _LIST_TOKENS):
        return numbered
    return "Steps: " + " > ".join(one.id for one in formula.steps)


def _about(formula: Attached, step: Step) -> Provenance:
    first = step.chunks[0]
    return Provenance("formulas", formula.document.removeprefix("file:"), formula.rig, first.updated_at, first.id)


def _rest(formula: Attached) -> str:
    return f"`bd formula show {id_of(formula.name)}`"


def _own_first(found: Named) -> tuple[bool, float, str]:
    return found.rig is None, -found.updated_at.timestamp(), found.document


def _names(view: View, work: Work) -> list[str]:
    """Names that the formula may have, the likeliest first; a molecule's root carries the name as its title."""
    names = []
    if work.card and work.document:
        attached = work.card.formula
        names += [attached] if attached else []
        root = view.bead(attached) if attached else None
        titles = [one.title.removeprefix(f"{one.bead.bead}:") for one in (root, work.document) if one and one.bead]
        names += [title.strip() for title in titles]
    names += [OF_ROLE[view.params.role]] if view.params.role in OF_ROLE else []
    clean = (PurePath(name).name.removesuffix(".toml").removesuffix(".formula") for name in names if name)
    return [name for name in dict.fromkeys(clean) if _NAME.fullmatch(name)]


def _steps(chunks: Sequence[StoredChunk]) -> tuple[Step, ...]:
    """Chunks of one step stand together under its heading, and the first begins with its name."""
    found = []
    for heading, same in groupby(chunks, key=lambda chunk: chunk.heading.split(" > ", 1)[0]):
        group = tuple(same)
        id_, _, title = heading.partition(": ")
        opening = _OPENING.match(group[0].text)
        if opening and opening[1] == id_:
            found.append(Step(id_, title.strip(), group))
    return tuple(found)


def _at(view: View, work: Work, formula: Attached) -> int | None:
    """Which step it is: as named, else by the molecule's bead in progress, else the first. None: no such step."""
    ids = [step.id for step in formula.steps]
    if view.params.step:
        wanted = view.params.step.strip()
        return ids.index(wanted) if wanted in ids else None
    titles = [step.title.lower() for step in formula.steps]
    for title in _in_progress(view, work):
        for at, (id_, name) in enumerate(zip(ids, titles, strict=True)):
            if title in {id_.lower(), name} or title.endswith((f": {name}", f".{id_.lower()}")):
                return at
    return 0


def _in_progress(view: View, work: Work) -> list[str]:
    """Titles of the molecule's children that are being worked on."""
    roots = [work.card] if work.card else []
    if work.card and work.card.formula and (molecule := view.bead(work.card.formula)) and molecule.bead:
        roots.append(molecule.bead)
    found = []
    for root in roots:
        for child in root.needed_by[:MOST_CHILDREN]:
            document = view.bead(child)
            card = document.bead if document else None
            if document and card and card.parent == root.bead and card.status in {"in_progress", "hooked"}:
                found.append(document.title.removeprefix(f"{child}:").strip().lower())
    return found
