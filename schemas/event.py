"""The base of every event, and the CloudEvents 1.0 envelope in which it travels."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

NAMESPACE = uuid.UUID("6f9c7c5e-54b6-5d3a-9d2c-0f0b1c6a2e11")
MAX_EVENT_BYTES = 1_000_000
"""Largest encoded event, in bytes; below the 1 MiB payload limit of a NATS server."""


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


Moment = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]
"""An aware point in time; RFC 3339 in UTC on the wire."""


class Frozen(BaseModel):
    """An immutable value that rejects fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(Frozen):
    """A fact, past tense. A subclass names its subject (`noun.past_participle`) and its version."""

    subject: ClassVar[str]
    version: ClassVar[int] = 1
    origin: ClassVar[Literal["town", "fact"]] = "fact"
    """`town`: may come from a publisher outside the daemon. `fact`: only the daemon may say it."""
    free_text: ClassVar[tuple[str, ...]] = ()
    """Fields that people or agents wrote: scrubbed before the event is written anywhere."""

    @classmethod
    def type_name(cls) -> str:
        """`gtftd.bead.closed.v1`: what the envelope carries as its type."""
        return f"gtftd.{cls.subject}.v{cls.version}"


class Envelope(BaseModel):
    """CloudEvents 1.0 in JSON (github.com/cloudevents/spec, v1.0.2), with our extension `causeid`.

    Unknown attributes are kept out, not refused: the specification lets intermediaries add some.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1, max_length=512)
    type: str = Field(min_length=1, max_length=128)
    time: Moment
    datacontenttype: Literal["application/json"] = "application/json"
    causeid: str | None = None
    data: dict[str, Any]

    @classmethod
    def wrap(cls, event: Event, *, id: str, source: str, time: datetime, cause: str | None = None) -> Self:
        return cls(
            id=id,
            source=source,
            type=event.type_name(),
            time=time,
            causeid=cause,
            data=event.model_dump(mode="json"),
        )

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


def event_id(*parts: object) -> str:
    """The same facts give the same id, in every process and after every restart (uuid5)."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(str(part) for part in parts)))
