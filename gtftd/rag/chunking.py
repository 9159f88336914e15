"""Documents as chunks: the pieces of text that are embedded, indexed and found."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from gtftd.rag.passages import Passage, by_headings, pack
from gtftd.schemas.rag import IndexDocument
from gtftd.town.formula import Formula, Step, Variable, read_formula

_TAIL = ("Dependencies (", "Slings", "History")
_PARTS = ("Design", "Acceptance criteria", "Notes", "Comment by ", *_TAIL)
_ENDING = re.compile(r"(\.formula)?\.(md|toml|tmpl|json)(\.tmpl)?$")
_MANY_DOTS = 200
"""In one line: `a.a.a...` as a key takes tomllib seconds, so such a file is no formula."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a document. `text` is what is shown and found by its words, `embed_text` what the model reads."""

    id: str
    """sha256 of collection, rig, document, heading and text: the same words are the same chunk, wherever they stand."""
    document: str
    ordinal: int
    heading: str
    text: str
    embed_text: str


def chunks_of(document: IndexDocument) -> list[Chunk]:
    """Every word of the document, in order; the same document gives the same chunks. Never raises for its text."""
    seen: Counter[tuple[str, str]] = Counter()
    made = []
    for ordinal, passage in enumerate(_passages(document)):
        same = (passage.heading, passage.text)
        made.append(
            Chunk(
                id=_id_of(document, passage, seen[same]),
                document=document.id,
                ordinal=ordinal,
                heading=passage.heading,
                text=passage.text,
                embed_text=_embedded(document, passage),
            )
        )
        seen[same] += 1
    return made


def _id_of(document: IndexDocument, passage: Passage, again: int) -> str:
    """`again`: how many passages before it say the same under the same heading."""
    digest = hashlib.sha256()
    for part in (document.collection, document.rig or "", document.id, passage.heading, passage.text, str(again)):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _embedded(document: IndexDocument, passage: Passage) -> str:
    """With what it is about, in few words: the model reads no more than 256 pieces."""
    title = document.title
    if document.collection != "beads":
        title = _ENDING.sub("", PurePath(title).name).replace("-", " ").replace("_", " ")
    heading = " > ".join(passage.heading.split(" > ")[-2:])
    about = ": ".join(part for part in (title[:120], heading[:160]) if part)
    text = passage.read or passage.text
    return f"{about}\n{text}" if about else text


def _passages(document: IndexDocument) -> Iterator[Passage]:
    if document.collection == "formulas":
        yield from _of_formula(document)
    elif document.collection == "beads":
        yield from _of_bead(document.text)
    elif document.collection == "sessions":
        yield from (Passage("", text) for text in pack(document.text.splitlines()))
    else:  # of what instructs each section stays alone: that it changed is told of it alone
        yield from by_headings(document.text, join=document.collection == "docs")


def _of_formula(document: IndexDocument) -> Iterator[Passage]:
    path = document.id.removeprefix("file:")
    name = PurePath(path).name
    told: list[Passage] = []
    if not any(line.count(".") > _MANY_DOTS for line in document.text.splitlines()):
        told = list(_told(read_formula(name, document.text.encode("utf-8", "replace"))))
    if told:
        yield from (Passage("", remark) for remark in pack(_opening_remarks(document.text)))
        yield from told
    else:  # an overlay, or a file that cannot be parsed: its words may be looked for all the same
        yield from by_headings(document.text)


def _opening_remarks(text: str) -> list[str]:
    """The comment at the top of a TOML file."""
    lines = itertools.takewhile(lambda line: not line.strip() or line.startswith("#"), text.splitlines())
    return [line.lstrip("#").strip() for line in lines]


def _told(formula: Formula) -> Iterator[Passage]:
    kind = f"{formula.type} formula" if formula.type else "formula"
    if not (formula.description or formula.steps or formula.legs):
        return
    opening = f"{formula.name} ({kind})\n\n{formula.description}".strip()
    yield from _under((), opening)
    if formula.vars or formula.inputs:
        yield from _under(("Variables",), "\n".join(map(_of_variable, (*formula.inputs, *formula.vars))))
    for step in (*formula.steps, *formula.legs):
        yield from _under((f"{step.id}: {step.title}" if step.title else step.id,), _of_step(step))
    if formula.synthesis:
        about = formula.synthesis
        needs = f"depends on: {', '.join(about.depends_on)}" if about.depends_on else ""
        yield from _under((about.title or "Synthesis",), "\n\n".join(filter(None, (needs, about.description))))
    others = [f"extends {name}" for name in formula.extends]
    others += [f"{item.target} becomes {item.formula}" for item in formula.compose]
    if others:
        yield from _under(("Composition",), "\n".join(others))


def _under(above: tuple[str, ...], text: str) -> Iterable[Passage]:
    return by_headings(text, above)


def _of_variable(variable: Variable) -> str:
    line = f"- {variable.name}: {variable.description}".rstrip(": ")
    if variable.required:
        line += " (required)"
    return f"{line} (default: {variable.default})" if variable.default is not None else line


def _of_step(step: Step) -> str:
    """As the file writes it, so that what is looked for in a formula's own words is found."""
    head = [f'{name} = "{value}"' for name in ("id", "title", "focus") if (value := getattr(step, name))]
    if step.needs:
        head.append(f"needs = [{', '.join(json.dumps(need, ensure_ascii=False) for need in step.needs)}]")
    parts = ["\n".join(head), step.description.strip()]
    if step.acceptance:
        parts.append(f"acceptance: {step.acceptance.strip()}")
    return "\n\n".join(filter(None, parts))


def _of_bead(text: str) -> Iterator[Passage]:
    """The first chunk says what the bead is and asks for; links and history, which repeat ids, come last in one."""
    head, asked, rest = _parts_of_life(text)
    fields = {line for line in head if line}
    for number, packed in enumerate(pack([*head, "", *asked])):
        read = "\n".join(line for line in packed.splitlines() if line not in fields).strip()
        yield Passage("" if number == 0 else "Description", packed, read or packed)
    tail = []
    for name, written in rest:
        if name.startswith(_TAIL):
            tail += [f"{name}:", *(line for line in written if line.strip())]
        else:
            yield from (Passage(name, packed) for packed in pack(written))
    yield from (Passage("History", packed) for packed in pack(tail))


def _parts_of_life(text: str) -> tuple[list[str], list[str], list[tuple[str, list[str]]]]:
    """Title and fields, the description, and every other part under its name."""
    head: list[str] = []
    asked: list[str] = []
    rest: list[tuple[str, list[str]]] = []
    lines = head
    for line in text.splitlines():
        name = line[3:].strip() if line.startswith("## ") else ""
        if lines is head and name == "Description":
            lines = asked
        elif name.startswith(_PARTS):
            lines = []
            rest.append((name, lines))
        else:
            lines.append(line)
    return head, asked, rest
