"""Acknowledgements that the server confirms ("double ack"), many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from gtftd.bus.connection import Bus


class Acknowledger:
    """Every +ACK carries a reply subject, on which the server answers once it has taken it.

    Those of one batch share a subject and a future: answers are counted, which costs a fraction of
    nats-py's `ack_sync` with its inbox, future and timer for each message.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._client: Client | None = None
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._subscribing = asyncio.Lock()
        self._batches: dict[str, _Batch] = {}
        self._number = 0

    async def acknowledge(self, messages: Sequence[Msg], timeout_s: float) -> bool:
        """True when the server has confirmed each of them (at least one) in time; if not, they come again."""
        batch = _Batch(len(messages))
        self._number += 1
        token = str(self._number)
        self._batches[token] = batch
        try:
            async with asyncio.timeout(timeout_s):
                client = await self._subscribed()
                for message in messages:
                    await client.publish(message.reply, reply=f"{self._inbox}.{token}")
                return await batch.answered
        except (nats.errors.Error, TimeoutError, OSError):
            return False
        finally:
            del self._batches[token]

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self._client is not None and self._client.is_connected:
            await subscription.unsubscribe()

    async def _subscribed(self) -> Client:
        async with self._subscribing:
            if not self._bus.ready.is_set():
                raise nats.errors.ConnectionClosedError
            client = self._bus.client
            if client is not self._client:
                self._inbox = client.new_inbox()
                self._subscription = await client.subscribe(f"{self._inbox}.*", cb=self._answered)
                self._client = client
            return client

    async def _answered(self, message: Msg) -> None:
        batch = self._batches.get(message.subject.rpartition(".")[2])
        if batch is not None:
            batch.count(refused=message.headers is not None)


class _Batch:
    """Counts answers; one with headers is the word "no responders" for a consumer that is gone."""

    def __init__(self, expected: int) -> None:
        self.answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._left = expected
        self._refused = False

    def count(self, *, refused: bool) -> None:
        self._left -= 1
        self._refused = self._refused or refused
        if self._left == 0 and not self.answered.done():
            self.answered.set_result(not self._refused)
