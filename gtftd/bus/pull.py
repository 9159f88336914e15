"""A continuous pull from one durable consumer: messages come as they are stored, never more than wanted."""

from __future__ import annotations

import asyncio
import json
import time

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from gtftd.bus.connection import Bus
from gtftd.logs import get_logger

log = get_logger("bus")
EXPIRES_S = 30.0
GRACE_S = 5.0
ASK_AGAIN_S = 0.1


class Pull:
    """Keeps one or more open requests at the server, `want` messages in all.

    nats-py's own `fetch` can hold early messages back until a whole batch is there or its time is out.
    """

    def __init__(self, bus: Bus, stream: str, durable: str) -> None:
        self._bus = bus
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = ""
        self._client: Client | None = None
        self._subscription: Subscription | None = None
        self._queue: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._asked = 0
        self._asked_at = 0.0
        self._generation = -1
        bus.listeners.add(self._wake)

    async def receive(self, want: int) -> list[Msg]:
        """At least one message, at most about `want`; waits for ever. Cancel to end."""
        while True:
            try:
                await self._ask(want)
            except (nats.errors.Error, OSError) as error:
                log.debug("pull.waiting", error=type(error).__name__)
                self._generation = -1
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            messages = await self._take()
            if messages:
                return messages

    def _wake(self) -> None:
        self._queue.put_nowait(None)

    async def close(self) -> None:
        self._bus.listeners.discard(self._wake)
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self._client is not None and self._client.is_connected:
            await subscription.unsubscribe()

    async def _take(self) -> list[Msg]:
        try:
            async with asyncio.timeout(EXPIRES_S + GRACE_S):
                messages = self._kept(await self._queue.get())
        except TimeoutError:
            self._asked = 0
            return []
        while not self._queue.empty():
            messages += self._kept(self._queue.get_nowait())
        return messages

    async def _ask(self, want: int) -> None:
        await self._bus.ready.wait()
        if self._generation != self._bus.generation:
            await self._resubscribe()
        if time.monotonic() - self._asked_at > EXPIRES_S + GRACE_S:
            self._asked = 0
        missing = want - self._asked
        if missing <= 0 or (self._asked and missing * 2 < want):
            return
        self._asked += missing
        self._asked_at = time.monotonic()
        request = json.dumps({"batch": missing, "expires": int(EXPIRES_S * 1e9)}).encode()
        await self._bus.client.publish(self._subject, request, reply=self._inbox)

    async def _resubscribe(self) -> None:
        self._generation = self._bus.generation
        self._asked = 0
        if self._client is self._bus.client and self._subscription is not None:
            return  # the client has subscribed again by itself
        self._client, self._subscription = self._bus.client, None
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._queue.put)

    def _kept(self, message: Msg | None) -> list[Msg]:
        """A message, or nothing for a status line of the server, which ends a request, and for a wake-up."""
        if message is None:
            return []
        if message.headers is None or "Status" not in message.headers or message.data:
            self._asked = max(self._asked - 1, 0)
            return [message]
        pending = message.headers.get("Nats-Pending-Messages")
        self._asked = max(self._asked - int(pending), 0) if pending else 0
        return []
