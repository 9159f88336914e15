"""Drains the outbox to the bus, in order; a row leaves the outbox when the server has acknowledged it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import nats.errors
from nats.js.api import PubAck
from nats.js.errors import APIError

from gtftd.bus.connection import Bus
from gtftd.bus.delivery import RETRIED
from gtftd.errors import GtftdError
from gtftd.health import Health
from gtftd.logs import get_logger
from gtftd.metrics import Activity, Metrics
from gtftd.state.crash import crash_point
from gtftd.state.outbox import Outbox, Row

log = get_logger("bus")
BATCH = 256
ACK_S = 15.0
FIRST_ACK_S = 5.0
RETRY_S = 1.0
NOTED_BYTES = 2048
IDENTIFIERS = (
    "bead", "change", "changes", "closed_by", "how", "type", "actor", "role", "rig", "by", "start", "session_id",
    "tmux_session", "path", "database", "rows", "outcome",
)  # fmt: skip


class Publisher:
    """The one task that publishes."""

    def __init__(self, outbox: Outbox, bus: Bus, health: Health, metrics: Metrics, activity: Activity) -> None:
        self._outbox = outbox
        self._bus = bus
        self._health = health
        self._metrics = metrics
        self._activity = activity

    async def run(self) -> None:
        """For ever: wait for rows and a bus, publish, forget. Cancel to end."""
        while True:
            await self._bus.ready.wait()
            self._outbox.filled.clear()
            try:
                sent = await self.drain_once()
            except GtftdError as error:
                log.warning("outbox.waiting", error=str(error))
                sent = -1
            if sent < 0:
                await asyncio.sleep(RETRY_S)
            elif sent == 0:
                await self._outbox.filled.wait()

    async def drain_once(self) -> int:
        """Publish the oldest rows; how many were acknowledged, -1 when the first of them was not."""
        rows = await self._outbox.head(BATCH)
        self._metrics.outbox.set(len(rows))
        if not rows:
            return 0
        sent = await self._publish(rows)
        if sent:
            await self._outbox.remove(sent)
            crash_point("publisher.removed")
            self._note(sent)
        return len(sent) if len(sent) == len(rows) else len(sent) or -1

    async def _publish(self, rows: Sequence[Row]) -> list[Row]:
        """Rows acknowledged, a prefix of `rows`: what follows a failure is sent again, in order."""
        waiting = []
        try:
            js = self._bus.js
            for row in rows:
                waiting.append(await js.publish_async(row.subject, row.body, headers=_headers(row)))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            log.warning("publish.failed", error=f"{type(error).__name__}: {error}")
        crash_point("publisher.sent")
        await self._answered(waiting)
        if waiting and waiting[0].cancelled() and self._bus.ready.is_set():
            await self._bus.distrust(f"the server has not stored an event within {FIRST_ACK_S:g} s")
        return self._acknowledged(rows, waiting)

    async def _answered(self, waiting: Sequence[asyncio.Future[PubAck]]) -> None:
        """Until every acknowledgement is there, the connection is lost, or it takes too long."""
        lost = asyncio.ensure_future(self._bus.lost.wait())
        everything = asyncio.gather(*waiting, return_exceptions=True)
        everything.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        first: list[asyncio.Future[Any]] = [lost, *waiting[:1]]
        either: list[asyncio.Future[Any]] = [lost, everything]
        try:
            await asyncio.wait(first, timeout=FIRST_ACK_S, return_when=asyncio.FIRST_COMPLETED)
            if waiting and waiting[0].done():
                await asyncio.wait(either, timeout=ACK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            everything.cancel()

    def _acknowledged(self, rows: Sequence[Row], futures: Sequence[asyncio.Future[PubAck]]) -> list[Row]:
        good: list[Row] = []
        for row, future in zip(rows, futures, strict=False):
            if not future.done() or future.cancelled():
                future.cancel()
                break
            error = future.exception()
            if error is not None:
                self._refused(error)
                break
            good.append(row)
        for future in futures[len(good) :]:
            future.cancel()
        if len(good) == len(rows):
            self._health.ok("outbox")
            self._bus.trust()
        return good

    def _refused(self, error: BaseException) -> None:
        if isinstance(error, APIError):
            self._health.degraded("outbox", "nats.refused", f"the server refuses an event: {error}")
        else:
            log.warning("publish.unacknowledged", error=f"{type(error).__name__}: {error}")

    def _note(self, rows: Sequence[Row]) -> None:
        for row in rows:
            name = row.subject.partition(".")[2].partition(".")[2]
            self._metrics.events_published.labels(subject=name).inc()
            self._activity.note("event", name, **_identifiers(name, row.body))


def _headers(row: Row) -> dict[str, str]:
    return {"Nats-Msg-Id": row.id} | ({RETRIED: row.retries} if row.retries else {})


def _identifiers(name: str, body: bytes) -> dict[str, str | int]:
    """What a live view may say of an event: ids and words of ours, never what people or agents wrote."""
    if len(body) > NOTED_BYTES:
        return {}
    try:
        data = json.loads(body)["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    keys = (*IDENTIFIERS, "reason") if name == "collection.skipped" else IDENTIFIERS
    found: dict[str, str | int] = {}
    for key in keys:
        match data.get(key):
            case str(text) if text:
                found[key] = text[:100]
            case int(count):
                found[key] = count
            case [*names] if names:
                found[key] = ",".join(map(str, names))[:100]
    return found
