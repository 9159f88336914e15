"""Events that an operator or a program put into the spool as whole envelopes."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from gtftd.errors import Invalid
from gtftd.schemas.event import MAX_EVENT_BYTES, Envelope
from gtftd.schemas.town import BeadState, TownEvent


@dataclass(frozen=True)
class Emitted:
    """An envelope that may go to the bus: it keeps its own id, time and source."""

    id: str
    event: TownEvent
    body: bytes


def decode_emitted(payload: bytes) -> Emitted:
    """Raises Invalid for what is no envelope, no town event that we know, or too large for the bus."""
    try:
        envelope = Envelope.model_validate_json(payload)
    except ValidationError as error:
        raise Invalid(f"it holds no CloudEvents envelope: {_first(error)}") from error
    kind = town_events().get(envelope.type)
    if kind is None:
        raise Invalid(f"type {envelope.type!r:.140} may not come from outside, or is not known to this gtftd")
    try:
        event = kind.model_validate(envelope.data)
    except ValidationError as error:
        raise Invalid(f"its data does not make a {envelope.type}: {_first(error)}") from error
    again = Envelope.wrap(event, id=envelope.id, source=envelope.source, time=envelope.time, cause=envelope.causeid)
    body = again.encode()
    if len(body) > MAX_EVENT_BYTES:
        raise Invalid(f"{envelope.type} has {len(body)} bytes, more than {MAX_EVENT_BYTES}")
    return Emitted(envelope.id, event, body)


def town_events() -> dict[str, type[TownEvent]]:
    """Every event of the town by the type that its envelope carries."""
    kinds = [*TownEvent.__subclasses__(), *BeadState.__subclasses__()]
    return {kind.type_name(): kind for kind in kinds if "subject" in vars(kind)}


def _first(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"[:300]
