"""Where secrets stand in a transcript: templates of two styles that share no wording, and how a secret is put there.

In the templates `{v}` is the value, `{q}` the value as a part of a URL, `{k}` `{l}` `{c}` its key in three spellings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal
from urllib.parse import quote

from tests.support.planted_kinds import Kind
from tests.support.planted_mint import APPS, HEX, NAMES, Minted, host, some

Place = Literal["tool", "assistant", "arguments"]


@dataclass(frozen=True)
class Template:
    place: Place
    text: str
    name: str


@dataclass(frozen=True)
class Piece:
    """A few lines with a secret in them; `marks` are the secret's parts as they are written here."""

    text: str
    marks: tuple[str, ...]
    secrets: tuple[str, ...]
    place: Place
    context: str


def _templates() -> dict[str, tuple[Template, ...]]:
    """By form or kind, and style. In the files `### keyed held-out` begins a set and `=== tool env` a template."""
    sets: dict[str, tuple[Template, ...]] = {}
    folder = Path(__file__).parent
    text = "\n".join((folder / name).read_text() for name in ("planted_templates.txt", "planted_sentences.txt"))
    for section in re.split(r"^### ", text, flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        parts = [part.partition("\n") for part in re.split(r"^=== ", body, flags=re.M)[1:]]
        sets[title] = tuple(_template(head, body) for head, _, body in parts)
    return sets


def _template(head: str, body: str) -> Template:
    place, _, name = head.partition(" ")
    assert place in ("tool", "assistant", "arguments"), head
    return Template(place, body.rstrip("\n"), name)  # type: ignore[arg-type]


_SETS = _templates()


def templates_for(kind: Kind, held_out: bool) -> tuple[Template, ...]:
    style = "held-out" if held_out else "open"
    if kind.form == "line":
        return _SETS[f"{kind.name} {style}"]
    if kind.form in ("token", "dsn"):
        return _SETS[f"keyed {style}"] + _SETS[f"{kind.form} {style}"]
    return _SETS[f"{kind.form} {style}"]


def _spellings(key: str) -> dict[str, str]:
    words = key.lower().split("_")
    return {"k": key.upper(), "l": key.lower(), "c": words[0] + "".join(word.capitalize() for word in words[1:])}


def render(rng: Random, kind: Kind, held_out: bool) -> Piece:
    """One secret of the kind in one of its contexts."""
    minted = kind.make(rng)
    template = rng.choice(templates_for(kind, held_out))
    shown = minted.shown
    slots = {
        **_spellings(rng.choice(kind.keys or ("CREDENTIALS",))),
        "v": shown,
        "q": quote(shown, safe=""),
        "indented": "\n".join("    " + line for line in shown.split("\n")),
        "escaped": shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"),
        "app": rng.choice(APPS),
        "person": rng.choice(NAMES),
        "host": host(rng),
        "hex": some(rng, HEX, 8),
        "n": str(rng.randint(10, 28)),
        "ts": f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T{rng.randint(10, 23)}:{rng.randint(10, 59)}:04Z",
    }
    text = template.text.format(**slots)
    return Piece(text, _marks(text, minted), minted.secrets, template.place, template.name)


def _marks(text: str, minted: Minted) -> tuple[str, ...]:
    """The longest line of each secret, as it stands in the text."""
    marks = []
    for secret in minted.secrets:
        line = max(re.split(r"\\*\n|\\n", secret), key=len)
        marks += [form for form in (line, quote(line, safe="")) if form in text][:1]
    assert marks, f"the secret does not stand in its own context:\n{text}"
    return tuple(marks)
