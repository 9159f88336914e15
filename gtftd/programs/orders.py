"""What gtftctl may ask of the daemon, and the few things that it may order."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import nats.errors

import gtftd
from gtftd.control.listing import read_entries
from gtftd.control.logtail import log_file, tail_log
from gtftd.control.server import ControlServer
from gtftd.errors import Invalid
from gtftd.programs.corpus_orders import CollectOrders, SafetyOrders
from gtftd.programs.rag_orders import RagOrders
from gtftd.programs.registry_orders import RegistryOrders, TrainedAt
from gtftd.programs.train_orders import TrainOrders
from gtftd.schemas import control as wire
from gtftd.schemas import corpus_views as views
from gtftd.schemas.protocol import Answer, NoParams

if TYPE_CHECKING:
    from gtftd.programs.daemon import Daemon

A = TypeVar("A", bound=Answer)
SOURCES = ("spool", "feed", "beads", "watch", "sweep", "commits")
_COMPONENTS = {"beads": "dolt"}


class Orders:
    """The verbs of the control socket over the daemon's parts."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._parts = daemon.parts

    def register(self, server: ControlServer) -> None:
        server.verb("version", NoParams, self.version)
        server.verb("status", NoParams, self.status)
        server.verb("health", NoParams, self.health)
        server.verb("reactions", NoParams, self.reactions)
        server.verb("pause", wire.PauseParams, self.pause)
        server.verb("resume", wire.ResumeParams, self.resume)
        server.verb("drain", wire.DrainParams, self.drain, timeout_s=3700)
        server.verb("parked.list", wire.ParkedListParams, self.parked_list)
        server.verb("parked.show", wire.ParkedShowParams, self.parked_show)
        server.verb("parked.retry", wire.ParkedRetryParams, self.parked_retry)
        server.verb("parked.drop", wire.ParkedDropParams, self.parked_drop)
        server.verb("logs", wire.LogsParams, self.logs)
        server.verb("metrics", NoParams, self.metrics)
        server.verb("watch", wire.WatchParams, self.watch)
        server.verb("entries", views.EntriesParams, self.entries)
        CollectOrders(self._parts).register(server)
        SafetyOrders(self._parts.audit, self._parts.review).register(server)
        parts = self._parts
        trained_at = TrainedAt(parts.database)
        RagOrders(parts.settings, parts.index, parts.keeper_of_index, trained_at).register(server)
        RegistryOrders(parts.registry_changed).register(server)
        TrainOrders(parts.trainings).register(server)

    async def version(self, _: NoParams) -> wire.VersionResult:
        return wire.VersionResult(version=gtftd.__version__, python=platform.python_version(), pid=os.getpid())

    async def status(self, _: NoParams) -> wire.StatusResult:
        parts = self._parts
        now = time.time()
        entries = await self.entries(views.EntriesParams(limit=1))
        return wire.StatusResult(
            version=gtftd.__version__,
            boot_id=parts.boot_id,
            pid=os.getpid(),
            town=str(parts.town_root),
            state_dir=str(parts.state_dir),
            started_at=self._daemon.started_at,
            uptime_s=round(now - self._daemon.started_at, 3),
            state=self._state(),
            estop=self._estops(),
            bus=await self._bus(),
            outbox=await parts.outbox.size(),
            spool_pending=len(await asyncio.to_thread(parts.spool.pending)),
            sources=self._sources(),
            reactions=await self._reactions(),
            entries=views.EntriesStatus(
                folder=entries.folder,
                total=entries.total,
                by_role=await parts.store.counts(),
                last=entries.entries[0] if entries.entries else None,
            ),
            health=self._conditions(),
            missed={what: parts.metrics.missed_by(what) for what in ("session", "close")},
            closes=await self._closes(),
            training=await self._training(),
        )

    async def health(self, _: NoParams) -> wire.HealthResult:
        return wire.HealthResult(ok=self._parts.health.is_ok, conditions=self._conditions())

    async def reactions(self, _: NoParams) -> wire.ReactionsResult:
        return wire.ReactionsResult(reactions=await self._reactions())

    async def pause(self, params: wire.PauseParams) -> wire.ChangedResult:
        await self._parts.runtime.pause(params.reaction, params.reason)
        return wire.ChangedResult(changed=tuple(self._parts.runtime.paused), detail="facts wait on the bus meanwhile")

    async def resume(self, params: wire.ResumeParams) -> wire.ChangedResult:
        before = set(self._parts.runtime.paused)
        await self._parts.runtime.resume(params.reaction)
        return wire.ChangedResult(changed=tuple(sorted(before - set(self._parts.runtime.paused))))

    async def drain(self, params: wire.DrainParams) -> wire.ChangedResult:
        self._daemon.phase = "draining"
        complete = await self._parts.runtime.drain(params.timeout_s)
        self._daemon.stop()
        detail = "drained" if complete else "not everything ended in time; it goes on at the next start"
        return wire.ChangedResult(detail=f"{detail}; the daemon ends now")

    async def parked_list(self, params: wire.ParkedListParams) -> wire.ParkedListResult:
        rows = await self._parts.parking.list(params.reaction, params.limit)
        total = await self._parts.parking.count()
        return wire.ParkedListResult(total=total, parked=tuple(_as(wire.ParkedRow, row) for row in rows))

    async def parked_show(self, params: wire.ParkedShowParams) -> wire.ParkedShowResult:
        row = await self._parts.parking.show(params.id)
        try:
            event = json.loads(row.body)
        except (ValueError, RecursionError):
            event = None
        return wire.ParkedShowResult(
            **_as(wire.ParkedRow, row).model_dump(),
            traceback=row.traceback,
            event=event if isinstance(event, dict) else None,
            body=row.body[:2000].decode("utf-8", "replace"),
            body_bytes=len(row.body),
        )

    async def parked_retry(self, params: wire.ParkedRetryParams) -> wire.ChangedResult:
        ids = await self._chosen(params)
        await self._parts.parking.retry(ids, self._parts.runtime.consumers)
        self._parts.outbox.filled.set()
        return wire.ChangedResult(changed=tuple(map(str, ids)), detail="published again")

    async def parked_drop(self, params: wire.ParkedDropParams) -> wire.ChangedResult:
        ids = await self._chosen(params)
        await self._parts.parking.drop(ids)
        return wire.ChangedResult(changed=tuple(map(str, ids)), detail="given up for good")

    def logs(self, params: wire.LogsParams) -> AsyncIterator[wire.LogLine]:
        return tail_log(log_file(self._parts.state_dir), params)

    async def metrics(self, _: NoParams) -> wire.MetricsResult:
        return wire.MetricsResult(text=self._parts.metrics.expose().decode())

    async def watch(self, params: wire.WatchParams) -> AsyncIterator[wire.HappeningResult]:
        following = self._parts.activity.follow()
        recent = self._parts.activity.recent()
        for happening in recent[len(recent) - min(params.recent, len(recent)) :]:
            yield _as(wire.HappeningResult, happening)
        async for happening in following:
            yield _as(wire.HappeningResult, happening)

    async def entries(self, params: views.EntriesParams) -> views.EntriesResult:
        return await asyncio.to_thread(read_entries, self._parts.state_dir, params)

    def _state(self) -> wire.State:
        if self._daemon.phase != "running":
            return self._daemon.phase
        if self._parts.runtime.held == "estop":
            return "estop"
        return "paused" if "*" in self._parts.runtime.paused else "running"

    def _estops(self) -> tuple[wire.EstopStatus, ...]:
        parts = self._parts
        rigs = [None, *(rig.name for rig in parts.town.read().rigs)]
        marks = {mark.rig: mark for rig in rigs if (mark := parts.estop.active(rig))}
        return tuple(
            wire.EstopStatus(
                rig=mark.rig,
                trigger=mark.trigger,
                at=mark.since.isoformat() if mark.since else "",
                reason=mark.reason,
            )
            for mark in marks.values()
        )

    async def _bus(self) -> wire.BusStatus:
        bus = self._parts.bus
        if not bus.ready.is_set():
            return wire.BusStatus(mode=_mode(bus.mode), url=bus.url, connected=False)
        streams = []
        try:
            async with asyncio.timeout(2):
                for origin in ("town", "fact"):
                    info = await bus.js.stream_info(bus.stream(origin))
                    streams.append(
                        wire.StreamStatus(name=bus.stream(origin), messages=info.state.messages, bytes=info.state.bytes)
                    )
        except (nats.errors.Error, TimeoutError, OSError, AssertionError):
            return wire.BusStatus(mode=_mode(bus.mode), url=bus.url, connected=False)
        return wire.BusStatus(mode=_mode(bus.mode), url=bus.url, connected=True, streams=tuple(streams))

    def _sources(self) -> tuple[wire.SourceStatus, ...]:
        board = {condition.component: condition for condition in self._parts.health.board()}
        found = []
        for name in SOURCES:
            condition = board.get(_COMPONENTS.get(name, name))
            facts, last = self._parts.metrics.facts_of(name)
            found.append(
                wire.SourceStatus(
                    name=name,
                    facts=facts,
                    last_fact_at=last,
                    condition=condition.name or ("off" if condition.state == "off" else "") if condition else "",
                )
            )
        return tuple(found)

    async def _reactions(self) -> tuple[wire.ReactionStatus, ...]:
        return tuple(_as(wire.ReactionStatus, state) for state in await self._parts.runtime.states())

    def _conditions(self) -> tuple[wire.ConditionStatus, ...]:
        board = self._parts.health.board()
        return tuple(_as(wire.ConditionStatus, item) for item in board)

    async def _closes(self) -> wire.ClosesStatus:
        seen, with_entry = await self._parts.evidence.count_closes()
        return wire.ClosesStatus(seen=seen, with_entry=with_entry, skipped=seen - with_entry)

    async def _training(self) -> wire.TrainingStatus:
        glance = await self._parts.trainings.glance()
        return wire.TrainingStatus(
            runs=tuple(_as(wire.RunStatus, run) for run in glance.runs[: wire.MOST_RUNS]),
            more=len(glance.runs[wire.MOST_RUNS :]),
            last=_as(wire.RunStatus, glance.last) if glance.last else None,
        )

    async def _chosen(self, choice: wire.ParkedChoice) -> Sequence[int]:
        if choice.ids and (choice.all or choice.reaction):
            raise Invalid("give either numbers or all (of a reaction), not both")
        if choice.ids:
            return choice.ids
        if not (choice.all or choice.reaction):
            raise Invalid("give the numbers of parked rows, or all; `gtftctl parked list` shows them")
        return [row.id for row in await self._parts.parking.list(choice.reaction, 1_000_000)]


def _as(answer: type[A], found: object) -> A:
    """An answer out of the fields that it shares with what a part of the daemon told."""
    return answer.model_validate(found, from_attributes=True)


def _mode(mode: str) -> Literal["embedded", "external"]:
    return "embedded" if mode == "embedded" else "external"
