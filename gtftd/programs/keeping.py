"""The daemon's own housekeeping: e-stop, watchdog, disk, gauges, old rows, and a town that must be there."""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime
from typing import Literal

from gtftd.control.notify import WATCHDOG, notify, status, watchdog_interval_s
from gtftd.errors import GtftdError
from gtftd.logs import get_logger
from gtftd.programs.parts import Parts
from gtftd.schemas.event import event_id
from gtftd.schemas.town import EstopRaised
from gtftd.state.files import has_room
from gtftd.state.outbox import Outgoing
from gtftd.town import hooks

log = get_logger("daemon")
BEAT_S = 1.0
SLOW_EVERY_S = 30.0
PURGE_EVERY_S = 3600.0
ROOM_BYTES = 8 * 1024**2
_DAY_S = 86_400.0
_TRIGGERS: dict[str, Literal["manual", "auto"]] = {"manual": "manual", "auto": "auto"}


async def beat(parts: Parts) -> None:
    """Every second: feed the watchdog from the loop itself, look for an e-stop, measure how late we are."""
    watchdog_s = watchdog_interval_s()
    fed = slow = purged = 0.0
    stops: set[str] = set()
    while True:
        began = time.monotonic()
        look_for_estop(parts)
        stops = await _tell_stops(parts, stops)
        await _look_at_state(parts)
        if watchdog_s is not None and began - fed >= min(watchdog_s, 10.0):
            notify(WATCHDOG)
            fed = began
        if began - slow >= SLOW_EVERY_S:
            await _slowly(parts)
            slow = began
        if began - purged >= PURGE_EVERY_S:
            await _purge(parts)
            purged = began
        asleep = time.monotonic()
        await asyncio.sleep(BEAT_S)
        parts.metrics.loop_lag_seconds.observe(max(time.monotonic() - asleep - BEAT_S, 0.0))


def look_for_estop(parts: Parts) -> None:
    """While the town's ESTOP file stands, nothing is reacted to; facts go on being kept."""
    mark = parts.estop.active()
    if mark is not None:
        parts.runtime.hold("estop")
        parts.health.degraded("estop", "estop", f"{parts.town_root / 'ESTOP'} stands; reactions wait until it is gone")
    elif parts.runtime.held == "estop":
        parts.runtime.hold("")
        parts.health.ok("estop")


async def _tell_stops(parts: Parts, told: set[str]) -> set[str]:
    """Put each e-stop that stands, and was not told, into the outbox; what stands now."""
    found = {}
    for mark in parts.estop.standing():
        at = mark.since if mark.since and mark.since.tzinfo else None
        found[event_id(EstopRaised.subject, mark.rig, at)] = EstopRaised(
            at=at or datetime.now(UTC),
            seen_by="watch",
            rig=mark.rig,
            trigger=_TRIGGERS.get(mark.trigger, "unknown"),
        )
    fresh = [Outgoing(identity, event, event.at) for identity, event in found.items() if identity not in told]
    try:
        if fresh:
            await parts.outbox.put(fresh)
    except GtftdError as error:
        log.warning("housekeeping.failed", error=str(error))
        return told
    return set(found)


async def _slowly(parts: Parts) -> None:
    try:
        _look_at_disk(parts)
        _look_at_rigs(parts)
        await asyncio.to_thread(_look_at_hooks, parts)
        parts.metrics.outbox.set(await parts.outbox.size())
        parts.metrics.parked.set(await parts.parking.count())
        for condition in parts.health.board():
            parts.metrics.degraded.labels(component=condition.component).set(condition.state == "degraded")
    except (GtftdError, OSError) as error:
        log.warning("housekeeping.failed", error=str(error))
    degraded = [condition.name for condition in parts.health.board() if condition.state == "degraded"]
    notify(status(f"degraded: {', '.join(degraded)}" if degraded else "all is well"))


async def _look_at_state(parts: Parts) -> None:
    """A state that could not be written is well again once it can be."""
    if not any(one.component == "state" and one.state == "degraded" for one in parts.health.board()):
        return
    try:
        if await asyncio.to_thread(has_room, parts.state_dir, ROOM_BYTES):
            await parts.database.write(lambda c: c.execute("INSERT OR REPLACE INTO counters VALUES ('written', 1)"))
            parts.health.ok("state")
    except (GtftdError, OSError) as error:
        log.debug("state.waiting", error=str(error))


def _look_at_disk(parts: Parts) -> None:
    """Before the disk is full, say so; when there is room again, a full disk is over."""
    free = shutil.disk_usage(parts.state_dir).free
    least = parts.settings.state.low_disk_bytes
    if free < least:
        detail = f"{free // 1024**2} MiB are left on the disk of {parts.state_dir}, less than {least // 1024**2}"
        parts.health.degraded("disk", "disk.low", detail)
    else:
        parts.health.ok("disk", f"{free // 1024**2} MiB free")


def _look_at_rigs(parts: Parts) -> None:
    for rig in parts.town.read().rigs:
        if rig.path.is_dir():
            parts.health.ok(f"rig:{rig.name}")
        else:
            detail = f"mayor/rigs.json names {rig.name}, but there is no {rig.path}"
            parts.health.degraded(f"rig:{rig.name}", "rig.missing", detail)


def _look_at_hooks(parts: Parts) -> None:
    """Hooks that were installed should still be there; a town without them is its owner's choice."""
    if not hooks.script_path(parts.state_dir).exists():
        parts.health.off("hooks", "not installed; `gtftctl hooks install` lets sessions and closes be known at once")
        return
    broken = [found for found in hooks.verify(parts.town.read(), parts.state_dir) if not found.ok]
    if broken:
        first = broken[0]
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        parts.health.degraded(
            "hooks", "hooks.missing", f"{first.path}: {first.detail}{more}; see `gtftctl hooks verify`"
        )
    else:
        parts.health.ok("hooks")


async def _purge(parts: Parts) -> None:
    try:
        before = time.time() - parts.settings.state.keep_done_days * _DAY_S
        while await parts.ledger.purge(before):
            pass
    except GtftdError as error:
        log.warning("housekeeping.failed", error=str(error))
