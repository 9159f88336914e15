"""The reader of the hook spool: every whole file becomes one fact, every other is set aside."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gtftd.errors import Invalid, Missing, NoSpace, Retriable
from gtftd.logs import get_logger
from gtftd.schemas.event import Event, event_id
from gtftd.schemas.settings import SpoolSettings
from gtftd.schemas.town import BeadTouched
from gtftd.sources.emitted import decode_emitted
from gtftd.sources.surroundings import LatestTown, Patience, Surroundings
from gtftd.sources.waker import Waker
from gtftd.state.crash import crash_point
from gtftd.state.files import write_atomic
from gtftd.state.outbox import Outgoing, already_told, forget_told, tell
from gtftd.town.layout import Town
from gtftd.town.spool import Spool, parse_spool_file, to_event

log = get_logger("spool")
SOURCE = "spool"
BATCH_FILES = 256
KEEP_TOLD_S = 86_400.0
"""Only a kill between commit and unlink shows us a file twice, and the next start is not a day away."""
_TORN_AFTER_S = 3600.0
_TIDY_EVERY_S = 3600.0

MayForget = Callable[[str], Awaitable[bool]]
"""Whether nothing will ask for this session's transcript any more."""


@dataclass(frozen=True)
class _Taken:
    """A file that was read; `row` is its fact as the outbox stores it."""

    path: Path
    event: Event
    row: tuple[str, str, bytes]


@dataclass(frozen=True)
class _Poison:
    path: Path
    reason: str


class SpoolSource:
    """Files are removed after their facts are committed; their names say which were told already."""

    def __init__(
        self,
        around: Surroundings,
        settings: SpoolSettings,
        spool: Spool,
        *,
        on_beads_touched: Callable[[Collection[str]], None],
        may_forget: MayForget,
    ) -> None:
        self._around = around
        self._settings = settings
        self._spool = spool
        self._on_beads_touched = on_beads_touched
        self._may_forget = may_forget
        self._town = LatestTown(around)
        self._patience = Patience(SOURCE, around)
        self._waker = Waker(SOURCE, step_ms=10, for_new_files=True)
        self._immovable: set[Path] = set()
        self._tidied_at = 0.0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._waker.run())
            await self._serve()

    async def _serve(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._spool.ensure)
                self._waker.watch([self._spool.new])
                await self.step()
                await self._tidy()
            except Retriable as error:
                await self._patience.bear(error)
            except OSError as error:
                self._around.metrics.source_errors.labels(source=SOURCE, condition="spool.unusable").inc()
                self._around.health.degraded(SOURCE, "spool.unusable", f"{self._spool.root}: {error.strerror}")
                await self._waker.wait(self._settings.rescan_s)
            else:
                self._patience.over()
                self._around.health.ok(SOURCE)
                await self._waker.wait(self._settings.rescan_s)

    async def step(self) -> int:
        """Take everything that waits; returns how many files became facts."""
        waiting = await asyncio.to_thread(self._waiting)
        taken = 0
        for start in range(0, len(waiting), BATCH_FILES):
            taken += await self._take(waiting[start : start + BATCH_FILES])
        return taken

    def _waiting(self) -> list[Path]:
        now = datetime.fromtimestamp(self._around.clock(), UTC)
        for path in self._spool.adoptable(now, self._settings.adopt_after_s):
            log.info("spool.adopted", name=path.name)
            self._spool.adopt(path)
        return [path for path in self._spool.pending() if path not in self._immovable]

    async def _take(self, paths: list[Path]) -> int:
        read = await asyncio.to_thread(lambda: self._read(paths, self._town.read()))
        taken = [one for one in read if isinstance(one, _Taken)]
        if beads := {one.event.bead for one in taken if isinstance(one.event, BeadTouched)}:
            self._on_beads_touched(beads)
        crash_point("spool.read")
        added = await self._commit(taken)
        crash_point("spool.committed")
        await asyncio.to_thread(_remove, taken)
        poison = [one for one in read if isinstance(one, _Poison)]
        if poison:
            await asyncio.to_thread(self._park, poison)
        self._around.metrics.count_facts(SOURCE, added)
        return len(taken)

    def _read(self, paths: list[Path], town: Town) -> list[_Taken | _Poison]:
        found: list[_Taken | _Poison] = []
        for path in paths:
            try:
                found.append(self._read_one(path, town))
            except Missing:
                continue
            except Invalid as error:
                found.append(_Poison(path, str(error)))
        return found

    def _read_one(self, path: Path, town: Town) -> _Taken:
        file = parse_spool_file(path)
        if file.kind == "emit":
            outgoing = decode_emitted(file.payload)
        else:
            event = to_event(file, town)
            outgoing = Outgoing(event_id(SOURCE, file.name), event, time=event.at)
        (row,) = self._around.outbox.rows([outgoing])
        return _Taken(path, outgoing.event, row)

    async def _commit(self, taken: list[_Taken]) -> int:
        """Returns how many facts are new: a kill before the unlink shows files again."""
        if not taken:
            return 0
        ids = [one.row[0] for one in taken]
        known = await self._around.database.read(lambda connection: already_told(connection, SOURCE, ids))
        fresh = [one.row for one in taken if one.row[0] not in known]
        now = self._around.clock()

        def also(connection: sqlite3.Connection) -> None:
            tell(connection, SOURCE, [(row[0], now) for row in fresh])

        return await self._around.outbox.put_encoded(fresh, also=also)

    def _park(self, poison: list[_Poison]) -> None:
        """The reason first: a file in `parked` always has one beside it, unless the disk was full."""
        for one in poison:
            with contextlib.suppress(NoSpace):
                write_atomic(self._spool.parked / f"{one.path.name}.reason", f"{one.reason}\n".encode())
            try:
                self._spool.park(one.path)
            except OSError as error:
                self._immovable.add(one.path)
                log.warning("spool.stuck", name=one.path.name, error=str(error))
            self._around.metrics.spool_parked.inc()
            log.warning("spool.parked", name=one.path.name, reason=one.reason)

    async def _tidy(self) -> None:
        """Once an hour: torn files, told ids, and second names of transcripts that nobody needs."""
        now = self._around.clock()
        if now - self._tidied_at < _TIDY_EVERY_S:
            return
        await asyncio.to_thread(self._remove_torn, datetime.fromtimestamp(now, UTC))
        await self._around.database.write(lambda connection: forget_told(connection, SOURCE, now - KEEP_TOLD_S))
        before = now - self._settings.keep_transcripts_days * 86_400
        for path in await asyncio.to_thread(_older, self._spool.transcripts, before):
            if await self._may_forget(path.stem):
                await asyncio.to_thread(path.unlink, missing_ok=True)
                log.info("transcript.forgotten", session_id=path.stem)
        self._tidied_at = now

    def _remove_torn(self, now: datetime) -> None:
        for path in self._spool.torn(now, _TORN_AFTER_S):
            path.unlink(missing_ok=True)
            log.warning("spool.torn_removed", name=path.name)


def _remove(taken: list[_Taken]) -> None:
    for one in taken:
        one.path.unlink(missing_ok=True)


def _older(folder: Path, before: float) -> list[Path]:
    """Transcripts that were last written before this moment."""
    found = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < before:
                found.append(path)
    return found
