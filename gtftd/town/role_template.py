"""gt's role templates, rendered: the part of Go's text/template that they are written in, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gtftd.errors import Invalid

CMD = "gt"
"""What `{{ cmd }}` prints: the program's own name."""
_ACTION = re.compile(r"\{\{(?P<left>-\s)?\s*(?P<inside>.*?)\s*(?P<right>\s-)?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.(?P<name>[A-Z]\w*)")
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_TOP = "(top)"


@dataclass(frozen=True)
class Part:
    """A heading of the second level, and what stands under it."""

    heading: str
    text: str


def render(template: str, fields: Mapping[str, str], *, name: str = "template") -> str:
    """Values for `{{ .Field }}` and `{{ cmd }}`; Invalid, with its line, for any other action."""
    out: list[str] = []
    end, trims = 0, False
    for action in _ACTION.finditer(template):
        before = template[end : action.start()]
        before = before.lstrip() if trims else before
        out.append(before.rstrip() if action["left"] else before)
        line = template.count("\n", 0, action.start()) + 1
        out.append(_value(action["inside"], fields, f"{name}, line {line}"))
        end, trims = action.end(), action["right"] is not None
    rest = template[end:]
    if "{{" in rest:
        line = template.count("\n", 0, end + rest.index("{{")) + 1
        raise Invalid(f"{name}, line {line}: an action that begins with {{{{ never ends")
    return "".join([*out, rest.lstrip() if trims else rest])


def _value(inside: str, fields: Mapping[str, str], place: str) -> str:
    if inside == "cmd":
        return CMD
    if _COMMENT.fullmatch(inside):
        return ""
    field = _FIELD.fullmatch(inside)
    if field is None:
        raise Invalid(f"{place}: {{{{ {inside[:80]} }}}} is no field and not cmd; role templates have nothing else")
    if field["name"] not in fields:
        raise Invalid(f"{place}: no value is known for .{field['name']}; there are {', '.join(sorted(fields))}")
    return fields[field["name"]]


def split(text: str) -> list[Part]:
    """By headings of the second level; what is inside a code fence is no heading."""
    parts: list[tuple[str, list[str]]] = [(_TOP, [])]
    fence = ""
    for line in text.splitlines(keepends=True):
        if found := _FENCE.match(line):
            mark = found[1]
            fence = "" if fence and mark.startswith(fence) else fence or mark
        elif not fence and line.startswith("## "):
            parts.append((line[3:].strip(), []))
        parts[-1][1].append(line)
    return [Part(heading, "".join(lines)) for heading, lines in parts if "".join(lines).strip()]
