"""FastStream's part in the race: a pull consumer that validates the whole event with pydantic."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.security import SASLPlaintext
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from contestants import Race


class Closed(BaseModel):
    """The same fields that ours validates."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    at: datetime
    seen_by: str
    database: str
    bead: str
    title: str
    issue_type: str
    status: str
    assignee: str | None
    episode: int
    reason: str
    closed_by: str | None


class Wrapped(BaseModel):
    """The envelope."""

    specversion: str
    id: str
    source: str
    type: str
    time: datetime
    datacontenttype: str
    data: Closed


def make_broker(race: Race, fetch: int, count: Callable[[], None], *, sync: bool) -> NatsBroker:
    """A broker that is not connected yet; `count` is called for each message that was handled."""
    security = SASLPlaintext(username=race.user, password=race.password)
    broker = NatsBroker(race.url, security=security, logger=None)
    options: dict[str, Any] = {
        "stream": JStream(race.stream, declare=False),
        "durable": race.durable,
        "pull_sub": PullSub(batch_size=fetch),
        "ack_policy": AckPolicy.MANUAL if sync else AckPolicy.NACK_ON_ERROR,
    }
    if sync:

        @broker.subscriber(race.subject, **options)
        async def handle_and_wait(event: Wrapped, message: NatsMessage) -> None:
            await message.ack_sync()
            count()
    else:

        @broker.subscriber(race.subject, **options)
        async def handle(event: Wrapped) -> None:
            count()

    return broker
