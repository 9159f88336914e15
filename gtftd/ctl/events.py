"""gtftctl events: the reference of all events, written from their models."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from gtftd.schemas.event import Event

_HEAD = """\
# Events

Written by `gtftctl events`; do not edit. Every event travels as a CloudEvents 1.0 JSON object whose `type` is
`gtftd.<event>.v<version>` and whose `data` has the fields below. Its subject on NATS is
`<prefix>.<origin>.<event>`; the prefix is `bus.prefix` of the configuration, `gtftd` unless it was changed.
"""
_ORIGINS = {
    "town": "What the town says. Sources, hooks, `gtftctl emit` and remote rigs may publish these.",
    "fact": "What the daemon states. Nobody else may publish these.",
}


def register(app: typer.Typer) -> None:
    app.command()(events)


def events(
    *,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Exit code 1 when FILE is not this text.")
    ] = None,
) -> None:
    """Every event with its subject, type and fields, as docs/events.md has them."""
    text = render_events()
    if check is None:
        sys.stdout.write(text)
    elif not check.is_file() or check.read_text() != text:
        sys.stderr.write(f"error: {check} is not what the models say; write it with `gtftctl events > {check}`\n")
        raise typer.Exit(1)
    else:
        show.print_line(f"{check} is up to date")


def render_events() -> str:
    from gtftd.schemas.catalog import EVENTS

    parts = [_HEAD]
    for origin, told in _ORIGINS.items():
        parts.append(f"## {origin}\n\n{told}\n")
        chosen = [model for model in EVENTS.values() if model.origin == origin]
        parts += [_event(model) for model in sorted(chosen, key=lambda model: (model.subject, model.version))]
    return "\n".join(parts)


def _event(model: type[Event]) -> str:
    lines = [
        f"### {model.subject}",
        "",
        inspect.cleandoc(model.__doc__ or ""),
        "",
        f"Subject `gtftd.{model.origin}.{model.subject}`, type `{model.type_name()}`.",
        "",
        "| field | type | default | |",
        "|---|---|---|---|",
    ]
    told = _told(model)
    lines += [_row(name, field, told.get(name, "")) for name, field in model.model_fields.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, field: FieldInfo, told: str) -> str:
    default = "required" if field.is_required() else f"`{_json(field.get_default(call_default_factory=True))}`"
    return f"| `{name}` | {_type(field)} | {default} | {told} |"


def _type(field: FieldInfo) -> str:
    from pydantic import TypeAdapter

    assert field.annotation is not None
    schema = TypeAdapter(field.annotation).json_schema()
    return _name(schema).replace("|", "\\|")


def _name(schema: dict[str, object]) -> str:
    """A JSON schema in the words of a person."""
    choices = schema.get("anyOf")
    if isinstance(choices, list):
        return " or ".join(_name(choice) for choice in choices)
    names = schema.get("enum")
    if isinstance(names, list):
        return ", ".join(f"`{name}`" for name in names)
    items = schema.get("items")
    if isinstance(items, dict):
        return f"list of {_name(items)}"
    return str(schema.get("format") or schema.get("type") or "any")


def _json(value: object) -> str:
    import json

    return json.dumps(value)


def _told(model: type[Event]) -> dict[str, str]:
    """What stands under each field of the class and its bases (a bare string after it)."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.startswith("gtftd."):
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
            assert isinstance(body, ast.ClassDef)
            for field, text in zip(body.body, body.body[1:], strict=False):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                        found[name] = " ".join(words.split()).replace("|", "\\|")
    return found
