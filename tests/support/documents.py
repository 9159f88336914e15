"""A town on disk and the collectors of its documents, with a real state and no daemon."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from gtftd.corpus import BeadDatabases, BeadsAccess, Documents, EntryStore, Evidence, Filing
from gtftd.corpus.in_force import ConventionHistory
from gtftd.schemas.corpus import Entry, EntryKind
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.settings import BeadsSettings, CollectionSettings, LabelSettings
from gtftd.scrub.scrubber import Scrubber
from gtftd.state import Database, Outbox
from gtftd.town.beads import BeadsReader
from gtftd.town.layout import load_town

SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@dataclass(frozen=True)
class Desk:
    """Everything that the collectors of documents need, and what they made of it."""

    town: Path
    database: Database
    store: EntryStore
    evidence: Evidence
    history: ConventionHistory
    documents: Documents

    async def entries(self, kind: EntryKind) -> dict[str, Entry]:
        """Whole, by origin."""
        sql = "SELECT origin, sha256 FROM entries WHERE kind = ?"
        rows = await self.database.read(lambda connection: connection.execute(sql, (kind,)).fetchall())
        return {origin: self.store.read_whole(sha256) for origin, sha256 in rows}

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        return await self.database.read(lambda connection: connection.execute(sql).fetchall())


async def last(progress: AsyncIterator[CollectProgress]) -> CollectProgress:
    """What the collection did in the end; it has finished, and counted everything that it did."""
    told = [one async for one in progress]
    final = told[-1]
    assert [False] * (len(told) - 1) + [True] == [one.finished for one in told]
    assert final.done == final.stored + final.unchanged + final.skipped
    return final


def counts(progress: CollectProgress) -> tuple[int, int, int, int]:
    return progress.stored, progress.unchanged, progress.skipped, progress.withdrawn


def make_town(root: Path, *rigs: str) -> Path:
    """The bare bones: rigs by name, each with the prefix of its first two letters."""
    told = {name: {"beads": {"prefix": name[:2]}} for name in rigs}
    write(root / "mayor" / "town.json", "{}")
    write(root / "mayor" / "rigs.json", json.dumps({"version": 1, "rigs": told}))
    for name in rigs:
        write(root / name / "mayor" / "rig" / ".beads" / "metadata.json", json.dumps({"dolt_database": name}))
    return root


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def write_lines(path: Path, rows: Iterable[object]) -> Path:
    return write(path, "".join(f"{json.dumps(row)}\n" for row in rows))


@contextlib.asynccontextmanager
async def desk(
    state: Path,
    town: Path,
    *,
    port: int | None = None,
    databases: tuple[str, ...] = (),
    settings: CollectionSettings | None = None,
    gt_version: str | None = None,
    clock: float = 4_000_000_000.0,
) -> AsyncIterator[Desk]:
    """With `port` the town has a beads server there."""
    state.mkdir(parents=True, exist_ok=True)
    database = Database.open(state / "state.db")
    scrubber = Scrubber({}, key=b"k" * 32)
    outbox = Outbox(database, prefix="gtftd", source="test", scrub=lambda value: scrubber.scrub_value(value))
    store, evidence = EntryStore(database, state / "entries", outbox), Evidence(database)
    store.prepare()
    filing = Filing(database, store, lambda: scrubber)

    async def version(_: Path) -> str | None:
        return gt_version

    history = ConventionHistory(database, lambda: load_town(town), lambda: clock, version)
    reader = BeadsReader(BeadsSettings(timeout_s=5), lambda: port or 1)
    access = BeadDatabases(BeadsAccess(reader, lambda: databases), filing, evidence, LabelSettings())
    documents = Documents(
        lambda: load_town(town),
        filing,
        history,
        settings or CollectionSettings(),
        LabelSettings(),
        access if port is not None else None,
    )
    try:
        yield Desk(town, database, store, evidence, history, documents)
    finally:
        await reader.close()
        database.close()
