"""Runs one reaction: claims its messages, runs the handler, commits what it did, acknowledges."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from gtftd.bus.acknowledger import Acknowledger
from gtftd.bus.contract import Reaction, Returned
from gtftd.bus.delivery import Delivery, Reacted, Workplace, nak, retried_of
from gtftd.bus.failures import STATE_RETRY, Failures
from gtftd.bus.pull import Pull
from gtftd.bus.tally import Counters, Tally
from gtftd.errors import GtftdError, Invalid
from gtftd.logs import get_logger
from gtftd.schemas.catalog import decode
from gtftd.schemas.event import Event, event_id
from gtftd.state.crash import crash_point
from gtftd.state.ledger import Answer, Claim, Done
from gtftd.state.outbox import Outgoing

log = get_logger("bus")
ACK_WAIT_S = 15.0
MOST_UNSETTLED = 1000
"""A message that waits for its next attempt counts as pending at the server: were this the concurrency of
the reaction, as many failing events would stop all others. How many run at once is decided here, by `Pull`."""
BUSY_AGAIN = timedelta(seconds=5)


class Consumer:
    """One durable consumer for one reaction; `open` gates it (paused, e-stop, draining)."""

    def __init__(self, reaction: Reaction, services: Mapping[str, object], place: Workplace) -> None:
        self.reaction = reaction
        self.tally = Tally()
        self.open = asyncio.Event()
        self.open.set()
        self._services = services
        self._place = place
        self._counters = Counters(reaction.name, self.tally, place.metrics, place.activity)
        self._acknowledger = Acknowledger(place.bus)
        self._failures = Failures(reaction, place, self._counters, self._acknowledge)
        self._timeout_s = reaction.timeout.total_seconds()
        self._log = log.bind()
        """Bound once: to bind for every line is most of what a line costs."""
        self._in_hand: set[Delivery] = set()
        """From the claim until the server has the acknowledgement."""
        self._reacted: list[Reacted] = []
        self._some_in_hand, self._some_reacted, self._freed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def stream(self) -> str:
        return self._place.bus.stream(self.reaction.event.origin)

    @property
    def subject(self) -> str:
        return self._place.outbox.subject(self.reaction.event)

    async def ensure(self) -> None:
        """Create the durable consumer; a new one begins with what comes from now on."""
        js = self._place.bus.js
        config = ConsumerConfig(
            durable_name=self.reaction.name,
            filter_subject=self.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_ack_pending=MOST_UNSETTLED,
            deliver_policy=DeliverPolicy.NEW,
        )
        try:
            known = await js.consumer_info(self.stream, self.reaction.name)
        except NotFoundError:
            await js.add_consumer(self.stream, config)
            return
        if known.config.filter_subject != self.subject:
            await js.delete_consumer(self.stream, self.reaction.name)
            await js.add_consumer(self.stream, config)
        elif known.config.max_ack_pending != MOST_UNSETTLED:
            known.config.max_ack_pending = MOST_UNSETTLED
            await js.add_consumer(self.stream, known.config)

    async def pending(self) -> int:
        """Messages of the stream that this reaction has not acknowledged."""
        info = await self._place.bus.js.consumer_info(self.stream, self.reaction.name)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def run(self) -> None:
        """For ever. Cancel to end: what runs is cancelled too and comes back after the next start."""
        pull = Pull(self._place.bus, self.stream, self.reaction.name)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._finish(group), name=f"{self.reaction.name}:finish")
                group.create_task(self._keep_alive(), name=f"{self.reaction.name}:keep_alive")
                while True:
                    await self.open.wait()
                    free = await self._wait_for_room()
                    messages = await pull.receive(free)
                    await self._take(messages, group)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await pull.close()
                await self._acknowledger.close()

    async def idle(self) -> None:
        """Until nothing of this reaction runs."""
        while self._in_hand:
            self._freed.clear()
            await self._freed.wait()

    async def _wait_for_room(self) -> int:
        while len(self._in_hand) >= self.reaction.concurrency:
            self._freed.clear()
            await self._freed.wait()
        return self.reaction.concurrency - len(self._in_hand)

    async def _take(self, messages: list[Msg], group: asyncio.TaskGroup) -> None:
        """Parse, claim in one transaction, and start what may run."""
        if others := [message for message in messages if not self._is_ours(message)]:
            group.create_task(self._acknowledge(others))
        ours = filter(self._is_ours, messages)
        deliveries = [found for message in ours if (found := await self._open_message(message))]
        if not deliveries:
            return
        try:
            answers = await self._place.ledger.begin([delivery.claim for delivery in deliveries])
        except GtftdError as error:
            self._failures.state_failed(error)
            for delivery in deliveries:
                await nak(delivery.message, STATE_RETRY)
            return
        crash_point("consumer.begun")
        repeated = []
        for delivery, answer in zip(deliveries, answers, strict=True):
            match answer.verdict:
                case "run":
                    self._start(delivery, answer, group)
                case "busy":
                    await nak(delivery.message, BUSY_AGAIN)
                case "done" | "parked":
                    self._counters.repeated()
                    repeated.append(delivery.message)
        if repeated:
            group.create_task(self._acknowledge(repeated))

    def _start(self, delivery: Delivery, answer: Answer, group: asyncio.TaskGroup) -> None:
        self._in_hand.add(delivery)
        self._some_in_hand.set()
        self.tally.running += 1
        group.create_task(self._react(delivery, answer.attempt), name=self.reaction.name)

    def _let_go(self, delivery: Delivery) -> None:
        self._in_hand.discard(delivery)
        self.tally.running -= 1
        self._freed.set()

    def _is_ours(self, message: Msg) -> bool:
        """False for what another reaction parked and gets again: this one has had the message itself."""
        retried = retried_of(message)
        return retried is None or retried.reaction == self.reaction.name

    async def _open_message(self, message: Msg) -> Delivery | None:
        """A message that can never be understood is parked with its bytes, and is no trouble to others."""
        received_at = time.monotonic()
        try:
            if not self.open.is_set():
                await nak(message, timedelta(seconds=1))
                return None
            envelope, event = decode(message.data)
            if not isinstance(event, self.reaction.event):
                raise Invalid(f"a {envelope.type} came in on {message.subject}")
            key = self.reaction.key(event)
        except (Invalid, RecursionError) as error:
            await self._failures.park_poison(message, error)
            return None
        wait = self._place.hold(event)
        if wait is not None:
            await nak(message, wait)
            return None
        return Delivery(message, envelope, event, Claim(self.reaction.name, key, envelope.id), received_at)

    async def _react(self, delivery: Delivery, attempt: int) -> None:
        """Run the handler. What it returned waits for `_finish`; a failure is dealt with here."""
        structlog.contextvars.bind_contextvars(**delivery.context(attempt))
        try:
            async with asyncio.timeout(self._timeout_s):
                returned = await self.reaction.function(delivery.event, **self._services)
            crash_point("consumer.reacted")
            rows = self._place.outbox.rows(self._outgoing(delivery, returned))
        except Exception as error:  # a bug of the handler must not stop the others
            await self._failed(delivery, attempt, error)
        else:
            self._reacted.append(Reacted(delivery, attempt, Done(delivery.claim, rows)))
            self._some_reacted.set()

    async def _failed(self, delivery: Delivery, attempt: int, error: Exception) -> None:
        try:
            await self._failures.decide(delivery, attempt, error)
        finally:
            self._let_go(delivery)

    async def _finish(self, group: asyncio.TaskGroup) -> None:
        """Commit together what has returned since the last commit, then acknowledge it beside the next."""
        while True:
            await self._some_reacted.wait()
            self._some_reacted.clear()
            batch, self._reacted = self._reacted, []
            committed = await self._commit(batch)
            if committed:
                group.create_task(self._conclude(committed), name=f"{self.reaction.name}:conclude")

    async def _commit(self, batch: list[Reacted]) -> list[Reacted]:
        """Those that are committed. When a batch fails each is tried alone, so that a failure is its own."""
        try:
            await self._place.ledger.commit([reacted.done for reacted in batch])
            return batch
        except Exception as error:  # decided in `_failed`, like those of the handler
            if len(batch) > 1:
                return [committed for reacted in batch for committed in await self._commit([reacted])]
            [reacted] = batch
            with structlog.contextvars.bound_contextvars(**reacted.delivery.context(reacted.attempt)):
                await self._failed(reacted.delivery, reacted.attempt, error)
            return []

    async def _conclude(self, batch: list[Reacted]) -> None:
        crash_point("consumer.committed")
        if any(reacted.done.rows for reacted in batch):
            self._place.outbox.filled.set()
        await self._acknowledge([reacted.delivery.message for reacted in batch])
        ended_at = time.monotonic()
        for reacted in batch:
            self._note_done(reacted, ended_at - reacted.delivery.received_at)
            self._let_go(reacted.delivery)

    def _note_done(self, reacted: Reacted, duration_s: float) -> None:
        """The canonical line of a reaction."""
        delivery = reacted.delivery
        self._counters.done(delivery.claim.key, duration_s)
        facts = len(reacted.done.rows)
        context = delivery.context(reacted.attempt)
        self._log.info("reaction.done", duration_s=round(duration_s, 6), facts=facts, **context)

    def _outgoing(self, delivery: Delivery, returned: Returned) -> list[Outgoing]:
        """The same reaction makes the same ids, so a repeated run publishes nothing twice."""
        events = [] if returned is None else [returned] if isinstance(returned, Event) else list(returned)
        claim = delivery.claim
        return [
            Outgoing(event_id(claim.reaction, claim.key, index), event, datetime.now(UTC), delivery.envelope.id)
            for index, event in enumerate(events)
        ]

    async def _acknowledge(self, messages: list[Msg]) -> None:
        """Wait for the server's word (double ack). If it does not come, the ledger turns the messages down."""
        crash_point("consumer.acknowledging")
        await self._acknowledger.acknowledge(messages, ACK_WAIT_S / 3)

    async def _keep_alive(self) -> None:
        """Tell the server that we are still at it, every third of its patience."""
        while True:
            await self._some_in_hand.wait()
            await asyncio.sleep(ACK_WAIT_S / 3)
            for delivery in list(self._in_hand):
                with contextlib.suppress(nats.errors.Error, OSError):
                    await delivery.message.in_progress()
            if not self._in_hand:
                self._some_in_hand.clear()
