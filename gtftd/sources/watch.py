"""The watcher of the files that tell agents how to behave: new content is a fact, a touch is none."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from gtftd.errors import Retriable
from gtftd.logs import get_logger
from gtftd.schemas.event import event_id
from gtftd.schemas.settings import WatchSettings
from gtftd.schemas.town import ConfigChanged, FormulaChanged, TownEvent
from gtftd.sources.looking import Look, Looker
from gtftd.sources.settling import Settled, Unsettled, settle
from gtftd.sources.surroundings import LatestTown, Patience, Surroundings
from gtftd.sources.waker import Waker
from gtftd.state.crash import crash_point
from gtftd.state.outbox import Outgoing, read_cursor, write_cursor
from gtftd.town.layout import Town
from gtftd.town.watched import Watched, folders_to_watch, may_matter, places, present

log = get_logger("watch")
SOURCE = "watch"


@dataclass(frozen=True)
class Known:
    """What was told of a file last; `changes` counts, so that going back to an old content is a new fact."""

    sha256: str | None
    changes: int


@dataclass(frozen=True)
class _Change:
    file: Watched
    before: Known
    settled: Settled


class Watcher:
    """Looks at every file after each wake-up; what it knows lives in its cursor, beside the facts."""

    def __init__(self, around: Surroundings, settings: WatchSettings) -> None:
        self._around = around
        self._settings = settings
        self._town = LatestTown(around)
        self._patience = Patience(SOURCE, around)
        self._waker = Waker(SOURCE, step_ms=100, cares=may_matter)
        self._looker = Looker(around.root)
        self._known: dict[str, Known] | None = None
        self._unsettled: dict[str, Unsettled] = {}
        self._unreadable: set[str] = set()

    async def run(self) -> None:
        if not self._settings.enabled:
            self._around.health.off(SOURCE, "switched off in the configuration")
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._waker.run())
            await self._keep_looking()

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.step()
            except Retriable as error:
                await self._patience.bear(error)
            else:
                self._patience.over()
                self._around.health.ok(SOURCE)
                await self._rest()

    async def _rest(self) -> None:
        """Until something changes; while something is unsettled, until it may have settled."""
        if self._unsettled:
            await asyncio.sleep(self._settings.debounce_s)
        else:
            await self._waker.wait(self._settings.rescan_s)

    async def step(self) -> int:
        """Look at everything once and commit what has settled; returns how many facts."""
        if self._known is None:
            self._known = await self._around.database.read(_read_known)
        known = self._known
        town = await asyncio.to_thread(self._town.read)
        folders = await asyncio.to_thread(lambda: folders_to_watch(town, places(town)))
        self._waker.watch(folders)
        if known is None:
            await self._warm_up(town)
            return 0
        changes = await asyncio.to_thread(self._compare, town, known)
        if changes:
            await self._tell(known, changes)
        return len(changes)

    async def _warm_up(self, town: Town) -> None:
        """The first start ever tells nothing: what is there now is what later changes are measured by."""
        looks = await asyncio.to_thread(lambda: {path: self._looker.look(path) for path in present(town, places(town))})
        known = {path: Known(look.sha256, 0) for path, look in looks.items() if look.state == "here"}
        await self._around.database.write(lambda connection: _write_known(connection, known))
        self._known = known
        log.info("watch.warmed_up", files=len(known))

    def _compare(self, town: Town, known: dict[str, Known]) -> list[_Change]:
        now = self._around.clock()
        there = present(town, places(town))
        changes = []
        for path in sorted({*there, *(path for path, one in known.items() if one.sha256)}):
            look = self._looker.look(path)
            file = there.get(path) or self._formerly(town, path, look)
            if file is None:
                self._unsettled.pop(path, None)
                continue
            before = known.get(path, Known(None, 0))
            settled = self._settle(path, before, look, now)
            if settled is not None:
                changes.append(_Change(file, before, settled))
        return changes

    def _formerly(self, town: Town, path: str, look: Look) -> Watched | None:
        """A known file that is not listed any more; None when it is there, but its rig left the town."""
        if look.state != "gone":
            return None
        folder, name = os.path.split(path)
        for place in places(town):
            kind = place.kind(name)
            if kind is not None and os.path.relpath(place.folder, town.root) == (folder or "."):
                return Watched(path, kind, place.rig)
        return None

    def _settle(self, path: str, before: Known, look: Look, now: float) -> Settled | None:
        self._note_unreadable(path, look)
        verdict = settle(
            before.sha256,
            self._unsettled.pop(path, None),
            look,
            now,
            debounce_s=self._settings.debounce_s,
            half_written_s=self._settings.half_written_s,
        )
        if isinstance(verdict, Unsettled):
            self._unsettled[path] = verdict
            return None
        return verdict

    async def _tell(self, known: dict[str, Known], changes: list[_Change]) -> None:
        after = dict(known)
        for change in changes:
            after[change.file.path] = Known(change.settled.sha256, change.before.changes + 1)
        now = self._around.clock()
        events = [_event(change, now) for change in changes]
        outgoing = [Outgoing(_id(change), event, event.at) for change, event in zip(changes, events, strict=True)]
        crash_point("watch.settled")
        await self._around.outbox.put(outgoing, also=lambda connection: _write_known(connection, after))
        crash_point("watch.committed")
        self._known = after
        self._around.metrics.count_facts(SOURCE, len(changes))

    def _note_unreadable(self, path: str, look: Look) -> None:
        if look.state != "unreadable":
            self._unreadable.discard(path)
        elif path not in self._unreadable:
            self._unreadable.add(path)
            self._around.metrics.source_errors.labels(source=SOURCE, condition="file.unreadable").inc()
            log.warning("file.unreadable", path=path)


def _id(change: _Change) -> str:
    return event_id(SOURCE, change.file.path, change.before.changes + 1, change.settled.sha256)


def _event(change: _Change, now: float) -> TownEvent:
    """Dated when the file came to be so: we may look much later."""
    file, settled, previous = change.file, change.settled, change.before.sha256
    at = datetime.fromtimestamp(now if settled.since is None else min(now, settled.since), UTC)
    if file.kind == "formula":
        return FormulaChanged(
            at=at,
            seen_by="watch",
            name=file.formula,
            path=file.path,
            sha256=settled.sha256,
            previous_sha256=previous,
            valid=settled.valid,
        )
    return ConfigChanged(
        at=at,
        seen_by="watch",
        kind=file.kind,
        path=file.path,
        rig=file.rig,
        sha256=settled.sha256,
        previous_sha256=previous,
        valid=settled.valid,
    )


def _read_known(connection: sqlite3.Connection) -> dict[str, Known] | None:
    found = read_cursor(connection, SOURCE)
    if found is None:
        return None
    files = found["files"]
    if not isinstance(files, dict):
        return None
    return {path: Known(sha256, int(changes)) for path, (sha256, changes) in files.items()}


def _write_known(connection: sqlite3.Connection, known: dict[str, Known]) -> None:
    files = {path: [one.sha256, one.changes] for path, one in known.items()}
    write_cursor(connection, SOURCE, {"files": files})
