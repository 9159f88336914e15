"""Every event there is, by the type name that its envelope carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from gtftd.errors import Invalid
from gtftd.schemas import corpus, operations, registry, town, training_events
from gtftd.schemas.event import MAX_EVENT_BYTES, Envelope, Event


def _leaves(base: type[Event]) -> Iterator[type[Event]]:
    for child in base.__subclasses__():
        if "subject" in child.__dict__:
            yield child
        yield from _leaves(child)


MODULES = (town, corpus, registry, training_events, operations)
EVENTS: Mapping[str, type[Event]] = {event.type_name(): event for event in _leaves(Event)}


def decode(body: bytes) -> tuple[Envelope, Event]:
    """Read an event off the wire. Raises Invalid for anything that is not one, and says why."""
    if len(body) > MAX_EVENT_BYTES:
        raise Invalid(f"the message has {len(body)} bytes, more than the {MAX_EVENT_BYTES} of an event")
    try:
        envelope = Envelope.model_validate_json(body)
    except ValidationError as error:
        raise Invalid(f"not a CloudEvents 1.0 envelope: {_reasons(error)}") from error
    return envelope, decode_data(envelope)


def decode_data(envelope: Envelope) -> Event:
    """The typed event inside an envelope. Raises Invalid for an unknown type or version."""
    model = EVENTS.get(envelope.type)
    if model is None:
        name, _, version = envelope.type.rpartition(".v")
        known = sorted(key for key in EVENTS if version.isdigit() and key.rpartition(".v")[0] == name)
        if not known:  # not quoted: it may be text that nobody has scrubbed
            raise Invalid("no event has the type of this one; `gtftctl events` lists those that there are")
        raise Invalid(f"event type {envelope.type!r}: version {version} is unknown here, known: {', '.join(known)}")
    try:
        return model.model_validate(envelope.data)
    except ValidationError as error:
        raise Invalid(f"{envelope.type} {envelope.id}: {_reasons(error)}") from error


def _reasons(error: ValidationError) -> str:
    """Where and what, never the value: it may be text of a transcript."""
    found = [
        f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False)
    ]
    return "; ".join(found[:5])
