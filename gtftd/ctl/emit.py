"""gtftctl emit: tell the daemon a fact of the town, through the spool; no daemon needs to run."""

from __future__ import annotations

import json
import socket
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Target, on_target
from gtftd.errors import Invalid, Refused

if TYPE_CHECKING:
    from gtftd.schemas.event import Event


def register(app: typer.Typer) -> None:
    app.command()(on_target(emit))


def emit(
    target: Target,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="For example bead.closed; see `gtftctl events`.")],
    fields: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False)] = None,
    *,
    data: Annotated[str | None, typer.Option("--data", metavar="JSON", help="All fields at once.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="The same id is the same fact, told once.")] = None,
) -> None:
    """Publish an event of the town. It is on disk when this returns, and on the bus when the daemon has read it."""
    from gtftd.schemas.event import MAX_EVENT_BYTES, Envelope
    from gtftd.town.spool import Spool

    model = find_type(type_)
    now = datetime.now(UTC)
    event = build(model, {"at": now.isoformat(), "seen_by": "emit"} | _parse_data(data) | _parse_fields(fields or []))
    source = f"/gtftctl/{socket.gethostname()}"
    envelope = Envelope.wrap(event, id=id_ or str(uuid.uuid4()), source=source, time=now)
    body = envelope.encode()
    if len(body) > MAX_EVENT_BYTES:
        raise Invalid(f"the event has {len(body)} bytes, more than {MAX_EVENT_BYTES}")
    Spool(target.state_dir / "spool").put_event(body)
    show.print_line(f"{envelope.type} {envelope.id}")


def find_type(name: str) -> type[Event]:
    """`bead.closed`, `gtftd.bead.closed.v1` or `BeadClosed`. Refused for what only the daemon may say."""
    from gtftd.schemas.catalog import EVENTS

    found = [model for model in EVENTS.values() if name in {model.subject, model.type_name(), model.__name__}]
    if not found:
        known = sorted(model.subject for model in EVENTS.values() if model.origin == "town")
        raise Invalid(f"no event is called {name}; there are {', '.join(known)}")
    newest = max(found, key=lambda model: model.version)
    if newest.origin != "town":
        raise Refused(f"{newest.subject} is a fact that only the daemon may state")
    return newest


def build(model: type[Event], fields: dict[str, Any]) -> Event:
    """Raises Invalid with every wrong or missing field."""
    from pydantic import ValidationError

    try:
        return model.model_validate(fields)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise Invalid(f"{model.subject}: {'; '.join(told)}") from error


def _parse_data(data: str | None) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"--data is not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise Invalid("--data is a JSON object with the fields of the event")
    return parsed


def _parse_fields(fields: list[str]) -> dict[str, Any]:
    """`key=value`; a value that begins with a bracket or a brace is JSON, all others are text."""
    parsed: dict[str, Any] = {}
    for field in fields:
        key, separator, value = field.partition("=")
        if not separator or not key:
            raise Invalid(f"{field!r} is not key=value")
        try:
            parsed[key] = json.loads(value) if value[:1] in {"[", "{"} else value
        except (ValueError, RecursionError) as error:
            raise Invalid(f"{key}: what begins with {value[0]} is JSON, and this is not: {error}") from error
    return parsed
