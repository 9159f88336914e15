"""Tells `bd` of training jobs, in order, when it is there; nothing waits for it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gtftd.errors import GtftdError
from gtftd.health import Health
from gtftd.logs import get_logger
from gtftd.registry import bead_intents
from gtftd.registry.bead_intents import Intent, Which
from gtftd.state.crash import crash_point
from gtftd.state.database import Database
from gtftd.town.bd import Bd, BdFailed, NewBead

COMPONENT = "job-beads"
EVERY_S = 30.0
TRIES = 5
FIRST_WAIT_S = 60.0
"""Then four times as long each time: an outage of an hour is not a refusal."""
OURS = "gtftd"
log = get_logger("jobs.beads")


@dataclass(frozen=True)
class _Refusal:
    tries: int
    not_before: float


class BeadFace:
    """What was told is marked; killed in between, the same is told again, which changes nothing.

    A bead is found again by its label, so there is one of it. `bd` away or silent: everything stays open.
    `bd` there and refusing: tried 5 times within 85 minutes, then marked with the error; other jobs go on.
    """

    def __init__(
        self,
        database: Database,
        bd: Bd,
        health: Health,
        held: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._bd = bd
        self._health = health
        self._held = held
        self._clock = clock
        self._refused: dict[int, _Refusal] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to tell."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.apply()
            except GtftdError as error:
                self._health.degraded(COMPONENT, "state.busy", str(error))
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def apply(self) -> int:
        """Tell what is open and due; how much `bd` took."""
        reason = "an e-stop stands" if self._held() else await asyncio.to_thread(self._bd.problem)
        if reason is not None:
            self._health.off(COMPONENT, reason)
            return 0
        by_job = bead_intents.due(await self._database.read(bead_intents.open_intents), self._clock())
        told = 0
        for intents in by_job.values():
            for intent in intents:
                if self._held() or not self._is_ready(intent):
                    break
                try:
                    await self._perform(intent)
                except BdFailed as error:
                    if not await self._bd.answers():
                        self._health.degraded(COMPONENT, "bd.unreachable", str(error))
                        return told
                    await self._bear(intent, error)
                    break
                told += 1
        await self._report()
        return told

    async def _report(self) -> None:
        refused = await self._database.read(bead_intents.given_up)
        if self._refused:
            detail = f"bd refuses {len(self._refused)} changes of training jobs; they are tried again"
            self._health.degraded(COMPONENT, "bd.refuses", detail)
        else:
            self._health.ok(COMPONENT, f"bd refused {refused} changes for good" if refused else "")

    def _is_ready(self, intent: Intent) -> bool:
        refusal = self._refused.get(intent.seq)
        return refusal is None or refusal.not_before <= self._clock()

    async def _bear(self, intent: Intent, error: BdFailed) -> None:
        before = self._refused.pop(intent.seq, None)
        tries = before.tries + 1 if before else 1
        if tries >= TRIES:
            log.error("intent.refused", job=intent.job, action=intent.action, seq=intent.seq, tries=tries)
            await self._finish(intent, str(error))
            return
        self._refused[intent.seq] = _Refusal(tries, self._clock() + FIRST_WAIT_S * 4.0 ** (tries - 1))
        await self._database.write(lambda connection: bead_intents.keep_error(connection, intent, str(error)))

    async def _perform(self, intent: Intent) -> None:
        if intent.action == "create":
            await self._create(intent)
            return
        beads = await self._database.read(lambda connection: bead_intents.beads_of(connection, intent.job))
        bead, corpus = beads[intent.payload.bead], beads["corpus"]
        if bead is None or (intent.action == "depend" and corpus is None):
            await self._finish(intent, "there is no bead: bd refused to make it")
            return
        match intent.action:
            case "depend":
                assert corpus is not None
                if corpus not in await self._bd.needs(bead):
                    await self._bd.add_need(bead, corpus)
            case "start":
                await self._bd.start(bead)
            case "label":
                await self._label(bead, f"training:{intent.payload.state}")
            case "note":
                await self._note(bead, intent)
            case "close":
                await self._only(_marker(intent.job, intent.payload.bead))
                await self._bd.close(bead, intent.payload.text)
        crash_point(f"job_beads.{intent.action}")
        await self._finish(intent)

    async def _create(self, intent: Intent) -> None:
        """Looked for again afterwards: a `bd` that outlived a daemon may have made one at the same moment."""
        payload = intent.payload
        marker = _marker(intent.job, payload.bead)
        bead = await self._only(marker)
        if bead is None:
            labels = [OURS, marker, *([f"training:{payload.state}"] if payload.state else [])]
            made = await self._bd.create(NewBead(payload.title, payload.text, labels))
            crash_point("job_beads.created")
            bead = await self._only(marker) or made
        await self._finish(intent, bead=bead)

    async def _only(self, marker: str) -> str | None:
        """The oldest with this label; others are closed as its duplicates."""
        found = await self._bd.find(marker)
        for other in found[1:]:
            if other.status != "closed":
                await self._bd.close(other.id, f"duplicate of {found[0].id}")
        return found[0].id if found else None

    async def _label(self, bead: str, wanted: str) -> None:
        labels = (await self._bd.show(bead)).labels
        others = sorted(label for label in labels if label.startswith("training:") and label != wanted)
        if others or wanted not in labels:
            await self._bd.relabel(bead, [wanted], others)

    async def _note(self, bead: str, intent: Intent) -> None:
        """Its number ends it, by which a second try knows it."""
        number = f"(gtftd note {intent.seq}.{intent.payload.revision})"
        if number in (await self._bd.show(bead)).notes:
            return
        at = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d %H:%M UTC")
        more = f", the last of {intent.payload.revision + 1}" if intent.payload.revision else ""
        await self._bd.append_notes(bead, f"{at}, {intent.payload.state}{more}: {intent.payload.text} {number}")

    async def _finish(self, intent: Intent, error: str = "", bead: str | None = None) -> None:
        which: Which = intent.payload.bead

        def work(connection: sqlite3.Connection) -> None:
            if bead is not None:
                bead_intents.keep_bead(connection, intent.job, which, bead)
            bead_intents.finish(connection, intent, self._clock(), error)

        await self._database.write(work)
        self._refused.pop(intent.seq, None)


def _marker(job: str, which: Which) -> str:
    return f"gtftd-job:{job}" if which == "training" else f"gtftd-corpus:{job}"
