"""What told agents how to behave, and when: the history of instructions, formulas and gt's version."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gtftd.schemas.corpus import Conventions
from gtftd.schemas.town import ConfigChanged, FormulaChanged
from gtftd.state import Database
from gtftd.town.artifact_files import FORMULAS, INSTRUCTIONS, convention_files, rig_of_path
from gtftd.town.gt_command import read_version
from gtftd.town.layout import Town
from gtftd.town.watched import in_place_since

GT = "gt"
GT_VERSION = "gt_version"
_BEFORE = 0.0
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Record:
    """From `since` on `path` had this content; no sum: it was not there."""

    path: str
    kind: str
    rig: str | None
    since: float
    sha256: str | None


class ConventionHistory:
    """Records are keyed by path and moment, so recording twice changes nothing."""

    def __init__(
        self,
        database: Database,
        town: Callable[[], Town],
        clock: Callable[[], float] = time.time,
        version: Callable[[Path], Awaitable[str | None]] = read_version,
    ) -> None:
        self._database = database
        self._town = town
        self._clock = clock
        self._version = version
        self._looking = asyncio.Lock()
        self._has_looked = False
        self.changes = 0
        """How often anything was recorded in this life: whoever read before may have read too early."""

    async def record(self, event: ConfigChanged | FormulaChanged) -> None:
        """Keep a change, and what was there before it when nobody has recorded that."""
        kind = "formula" if isinstance(event, FormulaChanged) else event.kind
        if kind not in INSTRUCTIONS | FORMULAS or event.path.endswith(".installed.json"):
            return
        rig = event.rig if isinstance(event, ConfigChanged) else await self._rig_of(event.path)
        before = Record(event.path, kind, rig, _BEFORE, event.previous_sha256)
        now = Record(event.path, kind, rig, event.at.timestamp(), event.sha256)

        def work(connection: sqlite3.Connection) -> None:
            earlier = "SELECT 1 FROM conventions WHERE path = ? AND since > ? AND since < ?"
            if not connection.execute(earlier, (now.path, _BEFORE, now.since)).fetchone():
                _insert(connection, before, instead=True)  # the first change knows what was there before all of them
            _insert(connection, now, instead=True)

        await self._database.write(work)
        self.changes += 1

    async def record_present(self) -> int:
        """Record what the town has now, where that differs from the last record; returns how many differ.

        What the first look of all finds counts as having been there for ever; what a later one finds is in force
        since it was written. Only of gt nobody can tell, so that a new version counts from the look on.
        """
        async with self._looking:
            version = await self._version(self._town().root)
            now = self._clock()
            files = await asyncio.to_thread(self._present, now)

            def work(connection: sqlite3.Connection) -> int:
                return _record_present(connection, [*files, Record(GT, GT_VERSION, None, now, version)], self._gone_at)

            changed = await self._database.write(work)
            self._has_looked = True
            self.changes += bool(changed)
            return changed

    async def at(self, rig: str | None, when: datetime | None) -> Conventions:
        """What was in force for `rig` at that moment (None: now); before the first record, what is known first."""
        if not self._has_looked:
            await self._look_once()
        moment = self._clock() if when is None else when.timestamp()

        def work(connection: sqlite3.Connection) -> list[Record]:
            sql = "SELECT path, kind, rig, since, sha256 FROM conventions WHERE rig IS NULL OR rig = ?"
            return [Record(*row) for row in connection.execute(sql, (rig,))]

        records = _in_force(await self._database.read(work), moment)
        version = next((record.sha256 for record in records if record.kind == GT_VERSION), None)
        return Conventions(
            instructions=_merkle(record for record in records if record.kind in INSTRUCTIONS),
            formulas=_merkle(record for record in records if record.kind in FORMULAS),
            gt_version=version,
        )

    async def retire(self, commands: Iterable[str], rig: str | None, since: datetime, path: str) -> None:
        """From `since` on nothing tells agents of the rig (None: of the town) to run these; the first record counts."""
        rows = [(command, rig or "", since.timestamp(), path) for command in commands]
        sql = "INSERT OR IGNORE INTO retired_commands (command, rig, since, path) VALUES (?, ?, ?, ?)"
        if rows:
            await self._database.write(lambda connection: connection.executemany(sql, rows))

    async def revive(self, commands: Iterable[str], rig: str | None) -> None:
        """Instructions name these again."""
        where = "command = ?" if rig is None else "command = ? AND rig IN ('', ?)"
        rows = [(command,) if rig is None else (command, rig) for command in commands]
        sql = f"DELETE FROM retired_commands WHERE {where}"
        if rows:
            await self._database.write(lambda connection: connection.executemany(sql, rows))

    async def retired(self, rig: str | None) -> Mapping[str, datetime]:
        """The commands that no instruction of the rig names any more, and since when."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, float]]:
            sql = "SELECT command, min(since) FROM retired_commands WHERE rig IN ('', ?) GROUP BY command"
            return connection.execute(sql, (rig or "",)).fetchall()

        rows = await self._database.read(work)
        return {command: datetime.fromtimestamp(since, UTC) for command, since in rows}

    async def _look_once(self) -> None:
        sql = "SELECT 1 FROM conventions WHERE kind = ?"
        found = await self._database.read(lambda connection: connection.execute(sql, (GT_VERSION,)).fetchone())
        if found is None:
            await self.record_present()
        self._has_looked = True

    async def _rig_of(self, path: str) -> str | None:
        return rig_of_path(await asyncio.to_thread(self._town), path)

    def _present(self, now: float) -> list[Record]:
        found = []
        for file in convention_files(self._town()):
            since = _since(file.file, now)
            if (digest := _digest(file.file)) is not None:
                found.append(Record(file.path, file.kind, file.rig, since, digest))
        return found

    def _gone_at(self, record: Record) -> float:
        return _since(self._town().root / record.path, self._clock())


def _since(file: Path, now: float) -> float:
    """To the microsecond, as events tell it: the same change told of by both is one record."""
    since = in_place_since(file)
    return datetime.fromtimestamp(now if since is None else min(now, since), UTC).timestamp()


def _record_present(connection: sqlite3.Connection, present: list[Record], gone_at: Callable[[Record], float]) -> int:
    """`present`: what there is, and since when. How many of these differ from the last record, or are gone."""
    last = {record.path: record for record in _in_force(_all(connection), float("inf"))}
    is_first = GT not in last
    paths = {record.path for record in present}
    gone = [record for path, record in last.items() if path not in paths and record.sha256 is not None]
    fresh = [record for record in present if record.path not in last or last[record.path].sha256 != record.sha256]
    for record in fresh:
        is_new = record.path not in last
        if is_new and not is_first:
            _insert(connection, replace(record, since=_BEFORE, sha256=None))
        _insert(connection, replace(record, since=_BEFORE) if is_new and is_first else record)
    for record in gone:
        _insert(connection, replace(record, since=gone_at(record), sha256=None))
    return len(fresh) + len(gone)


def _all(connection: sqlite3.Connection) -> list[Record]:
    sql = "SELECT path, kind, rig, since, sha256 FROM conventions"
    return [Record(*row) for row in connection.execute(sql)]


def _insert(connection: sqlite3.Connection, record: Record, *, instead: bool = False) -> None:
    """Of one path and moment the first record stays, or this one is put `instead`: events tell what had settled."""
    sql = f"INSERT OR {'REPLACE' if instead else 'IGNORE'} INTO conventions (path, kind, rig, since, sha256)"
    sql += " VALUES (?, ?, ?, ?, ?)"
    connection.execute(sql, (record.path, record.kind, record.rig, record.since, record.sha256))


def _in_force(records: Iterable[Record], moment: float) -> list[Record]:
    """Of each path the last record up to `moment`, else its first one."""
    found: dict[str, Record] = {}
    for record in sorted(records, key=lambda one: (one.path, one.since)):
        if record.path not in found or record.since <= moment:
            found[record.path] = record
    return list(found.values())


def _merkle(records: Iterable[Record]) -> str | None:
    """Over the sorted leaves (path, content); None when there are none."""
    leaves = sorted(f"{record.path}\0{record.sha256}" for record in records if record.sha256 is not None)
    level = [hashlib.sha256(leaf.encode(errors="surrogateescape")).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [level[start : start + 2] for start in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\x01" + b"".join(pair)).digest() if len(pair) > 1 else pair[0] for pair in pairs]
    return level[0].hex() if level else None


def _digest(file: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
