"""Tells the town's server what changed: in order, a batch in one transaction with its position, then one commit.

Killed anywhere, the position in the server says what was applied. A commit of Dolt that did not happen is made by
the first round of the next start; lines that were applied and not yet trimmed are trimmed by the next round.
Whatever breaks the order (tables made anew, lines trimmed untold, a state or a server that was restored from a
backup) shows as a gap between the position and the journal, and then every row is told once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from gtftd.errors import Busy, Conflict, GtftdError, Refused, Unreachable
from gtftd.health import Health
from gtftd.logs import get_logger
from gtftd.projection.address import TablesMissing, find_address
from gtftd.projection.journal import Journal
from gtftd.projection.server import TownServer, connect
from gtftd.projection.tables import TABLES
from gtftd.schemas.settings import SettingsModel
from gtftd.state.crash import crash_point
from gtftd.state.database import Database
from gtftd.town.layout import Town

COMPONENT = "records"
log = get_logger("projection")


@dataclass(frozen=True)
class Synced:
    """What one round did."""

    applied: int
    commits: int
    refilled: bool
    position: int
    is_dolt: bool


class Projector:
    """`sync` is one round, `run` goes on for ever. Both may be used by several processes at once: they take turns."""

    def __init__(
        self, settings: SettingsModel, town: Callable[[], Town], database: Database, health: Health | None = None
    ) -> None:
        self._all = settings
        self._settings = settings.projection
        self._town = town
        self._health = health or Health()
        self.journal = Journal(database)
        self.filled = asyncio.Event()
        """Set it when a record changed."""
        self._failures = 0
        self._is_settled = False

    async def run(self) -> None:
        """Until cancelled. Nothing waits for it, and no error ends it."""
        while True:
            rest_s = await self._round()
            if self._failures:
                await asyncio.sleep(rest_s)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self.filled.wait()
                await asyncio.sleep(min(self._settings.gather_s, rest_s))
            self.filled.clear()

    async def sync(self, *, anew: bool = False) -> Synced:
        """Tell everything that waits; `anew`: every row, and that others are gone.

        Raises Unreachable, Busy, TablesMissing, TablesDiffer, Refused.
        """
        address = await asyncio.to_thread(lambda: find_address(self._all, self._town()))
        async with connect(address) as server, server.turn():
            await server.check_tables()
            done = await self._tell(server, anew=anew)
        await self.journal.remember_mirrored()
        if done.applied or done.commits:
            log.info("records.mirrored", rows=done.applied, commits=done.commits, position=done.position)
        return done

    async def _tell(self, server: TownServer, *, anew: bool) -> Synced:
        writer = await self.journal.writer()
        position = await server.position(writer)
        refilled = anew or position is None or not await self.journal.is_whole(position)
        if refilled:
            position = await self._refill(server, writer, anew=anew)
        assert position is not None
        await self.journal.trim(position)
        applied = commits = 0
        while changes := await self.journal.read(position, self._settings.batch_rows):
            if not await server.apply(writer, position, changes):
                raise Busy(f"another gtftd of the same state writes into {server.address}; try again in a moment")
            crash_point("projection.applied")
            position = changes[-1].seq
            commits += await server.dolt_commit(f"gtftd: records up to {position}")
            crash_point("projection.committed")
            await self.journal.trim(position)
            crash_point("projection.trimmed")
            applied += len(changes)
        if not applied:  # what an earlier round applied may not be committed yet
            commits += await server.dolt_commit(f"gtftd: records up to {position}")
        return Synced(applied, commits, refilled, position, server.is_dolt)

    async def _refill(self, server: TownServer, writer: str, *, anew: bool) -> int:
        """Write every row into the journal, and that the server's other rows are gone; then set the position before.

        Another state directory may own those other rows: where one writes too, only `anew` removes them.
        Killed before the position is set, the next round finds the same gap and does it all again.
        """
        before = await self.journal.refill()
        crash_point("projection.refilled")
        if anew or set(await server.positions()) <= {writer}:
            for table in TABLES:
                last = ""
                while keys := await server.keys(table, last):
                    await self.journal.tell_gone(table, keys)
                    last = keys[-1]
        await server.put_position(writer, before)
        log.info("records.refilled", position=before)
        return before

    async def _round(self) -> float:
        """One round for `run`; how long to rest after it."""
        try:
            if not self._settings.enabled:
                self._health.off(COMPONENT, "projection.enabled is false")
                await self.journal.trim()
            elif not self._is_settled or await self.journal.waiting():
                self._is_settled = False
                await self.sync()
                self._is_settled = True
                self._health.ok(COMPONENT)
        except Busy as error:
            log.info("records.postponed", reason=str(error))
        except GtftdError as error:
            return await self._bear(error)
        self._failures = 0
        return self._settings.poll_s

    async def _bear(self, error: GtftdError) -> float:
        """Say what is wrong, and keep the journal small while nobody takes it."""
        self._failures += 1
        with contextlib.suppress(GtftdError):  # of a state that cannot be written just now
            is_off = not await self.journal.was_mirrored()
            is_absent = isinstance(error, TablesMissing)
            if is_absent or is_off or await self.journal.waiting() > self._settings.keep_rows:
                await self.journal.trim()
            if is_off and (isinstance(error, Unreachable) or (isinstance(error, TablesMissing) and error.none)):
                self._health.off(COMPONENT, "not mirrored; `gtftctl records create` makes the tables in the town")
            else:
                self._health.degraded(COMPONENT, _condition(error), str(error))
        if isinstance(error, TablesMissing):  # somebody may make them any minute, and asking is cheap
            return self._settings.poll_s
        longest = self._settings.poll_s * 2.0 ** min(self._failures - 1, 16)
        return min(longest, self._settings.backoff_most_s) * random.uniform(0.75, 1.0)


def _condition(error: GtftdError) -> str:
    if isinstance(error, TablesMissing):
        return "records.no_tables"
    if isinstance(error, Conflict):
        return "records.other_tables"
    if isinstance(error, Unreachable):
        return "records.unreachable"
    return "records.refused" if isinstance(error, Refused) else "records.failed"
