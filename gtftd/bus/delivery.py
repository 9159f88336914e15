"""A message on its way through a reaction, and the place where reactions are run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import nats.errors
from nats.aio.msg import Msg

from gtftd.bus.connection import Bus
from gtftd.errors import GtftdError
from gtftd.health import Health
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.event import Envelope, Event
from gtftd.state.ledger import Claim, Done, Ledger
from gtftd.state.outbox import Outbox
from gtftd.state.parking import Retried, read_retried

RETRIED = "Gtftd-Retried"
"""The header of a message that one reaction parked and an operator tries again: `Retried` as JSON."""
Hold = Callable[[Event], timedelta | None]
"""Says how long an event must wait (e-stop of its rig), or None."""


@dataclass(frozen=True)
class Workplace:
    """What every consumer shares."""

    bus: Bus
    ledger: Ledger
    outbox: Outbox
    health: Health
    metrics: Metrics
    activity: Activity
    hold: Hold
    on_error: Callable[[GtftdError], None] = lambda _error: None


@dataclass(frozen=True, eq=False)
class Delivery:
    """A message that parsed, and its place in the ledger."""

    message: Msg
    envelope: Envelope
    event: Event
    claim: Claim
    received_at: float

    def context(self, attempt: int) -> dict[str, str | int | None]:
        """What every log line of this reaction carries."""
        return {
            "reaction": self.claim.reaction,
            "key": self.claim.key,
            "event_id": self.envelope.id,
            "cause_id": self.envelope.causeid,
            "attempt": attempt,
        }


@dataclass(frozen=True, eq=False)
class Reacted:
    """A delivery whose handler has returned; `done` waits to be committed."""

    delivery: Delivery
    attempt: int
    done: Done


def retried_of(message: Msg) -> Retried | None:
    """For whom alone a message comes again; None for one that is everybody's."""
    written = (message.headers or {}).get(RETRIED)
    return read_retried(written) if written else None


async def nak(message: Msg, wait: timedelta) -> None:
    """Always with a delay: a bare nak comes back at once and burns the machine."""
    with contextlib.suppress(nats.errors.Error, OSError):
        await message.nak(delay=max(wait.total_seconds(), 0.05))
