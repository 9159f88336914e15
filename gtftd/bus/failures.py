"""What becomes of a reaction that failed: tried again later, or parked with its bytes."""

from __future__ import annotations

import random
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from nats.aio.msg import Msg

from gtftd.bus.contract import Reaction
from gtftd.bus.delivery import Delivery, Workplace, nak, retried_of
from gtftd.bus.tally import Counters
from gtftd.errors import GtftdError, NoSpace, Retriable
from gtftd.logs import get_logger
from gtftd.schemas.event import event_id
from gtftd.schemas.operations import ReactionParked
from gtftd.state.ledger import Claim, Failure
from gtftd.state.outbox import Outgoing

log = get_logger("bus")
STATE_RETRY = timedelta(seconds=2)
POISON = "message:"
"""How the keys of messages begin that nobody can read. A header may name no other key: a publisher writes headers
too, and would have a real event parked unseen.
"""


class Failures:
    """Decides for one reaction, by the class of the error."""

    def __init__(
        self,
        reaction: Reaction,
        place: Workplace,
        counters: Counters,
        acknowledge: Callable[[list[Msg]], Awaitable[None]],
    ) -> None:
        self._reaction = reaction
        self._place = place
        self._counters = counters
        self._acknowledge = acknowledge

    async def decide(self, delivery: Delivery, attempt: int, error: Exception) -> None:
        """The one place where a failure becomes a decision."""
        match error:
            case NoSpace():
                self.state_failed(error)
                await self._give_back(delivery, STATE_RETRY)
            case Retriable() | TimeoutError():
                await self._retry(delivery, attempt, error)
            case _:
                await self._park(delivery, attempt, error)

    def state_failed(self, error: GtftdError) -> None:
        self._place.on_error(error)
        log.warning("reaction.waiting", error=str(error))

    async def _retry(self, delivery: Delivery, attempt: int, error: Retriable | TimeoutError) -> None:
        if attempt >= self._reaction.retry.attempts:
            await self._park(delivery, attempt, error)
            return
        wait = self._delay(attempt, error)
        self._counters.retried(delivery.claim.key)
        log.warning("reaction.retried", error=_said(error), again_in_s=round(wait.total_seconds(), 3))
        await self._give_back(delivery, wait, counted=True)

    def _delay(self, attempt: int, error: Retriable | TimeoutError) -> timedelta:
        retry = self._reaction.retry
        doubled = min(retry.first * float(2 ** (attempt - 1)), retry.most)
        jittered = doubled * random.uniform(0.75, 1.25)  # spreads load, guards nothing
        asked = error.after if isinstance(error, Retriable) else None
        return max(jittered, asked) if asked else jittered

    async def _give_back(self, delivery: Delivery, wait: timedelta, *, counted: bool = False) -> None:
        try:
            await self._place.ledger.release(delivery.claim, counted=counted)
        except GtftdError as error:
            self.state_failed(error)
        await nak(delivery.message, wait)

    async def _park(self, delivery: Delivery, attempt: int, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error)) if not isinstance(error, GtftdError) else ""
        await self._store_failure(delivery.message, delivery.claim, attempt, error, trace)

    async def park_poison(self, message: Msg, error: Exception) -> None:
        """Under its place in the stream; what comes again, under the one that it had at first."""
        retried = retried_of(message)
        place = f"{POISON}{message.metadata.stream}:{message.metadata.sequence.stream}"
        key = retried.key if retried and retried.key.startswith(POISON) else place
        await self._store_failure(message, Claim(self._reaction.name, key, ""), 1, error, "")

    async def _store_failure(self, message: Msg, claim: Claim, attempts: int, error: Exception, trace: str) -> None:
        said = _said(error)
        parked = ReactionParked(reaction=claim.reaction, key=claim.key, attempts=attempts, error=said)
        # what is parked again after a retry is told again; what only comes once more is told once
        identity = event_id("parked", claim.reaction, claim.key, attempts, message.metadata.sequence.stream)
        fact = Outgoing(identity, parked, datetime.now(UTC))
        failure = Failure(claim, message.subject, message.data, attempts, said, _own_frames(trace))
        try:
            await self._place.ledger.park(failure, self._place.outbox.rows([fact]))
        except GtftdError as state_error:
            self.state_failed(state_error)
            await nak(message, STATE_RETRY)
            return
        self._place.outbox.filled.set()
        self._counters.parked(claim.key)
        log.error("reaction.parked", parked_key=claim.key, error=said, attempts=attempts)
        await self._acknowledge([message])


def _said(error: BaseException) -> str:
    """What a person reads. The text of a foreign exception may quote a transcript, so only its class is kept."""
    if isinstance(error, GtftdError):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def _own_frames(trace: str) -> str:
    """Files, lines and functions of a traceback; never its last line, which may quote text."""
    return "\n".join(line for line in trace.splitlines() if line.startswith(("  File", "    ")))
