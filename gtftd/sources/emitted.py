"""Events that an operator or a program put into the spool as whole envelopes."""

from __future__ import annotations

from gtftd.errors import Invalid
from gtftd.schemas.catalog import decode
from gtftd.state.outbox import Outgoing


def decode_emitted(payload: bytes) -> Outgoing:
    """It keeps its own id, time, source and cause. Raises Invalid for what may not come from outside."""
    envelope, event = decode(payload)
    if event.origin != "town":
        raise Invalid(f"type {envelope.type!r} is the daemon's own to say; publishers may say town events")
    return Outgoing(envelope.id, event, envelope.time, envelope.causeid, envelope.source)
