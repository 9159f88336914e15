"""The first reaction on a bench: real handlers, a real state file, real transcripts, no bus."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtftd import handlers
from gtftd.bus import bind, discover
from gtftd.corpus import Collector, EntryStore, Evidence
from gtftd.corpus.in_force import ConventionHistory
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.corpus import Entry
from gtftd.schemas.event import Event
from gtftd.schemas.settings import CollectionSettings
from gtftd.schemas.town import ConfigChanged
from gtftd.scrub.scrubber import Scrubber
from gtftd.state import Database, Outbox
from gtftd.town.layout import load_town
from gtftd.town.spool import Spool

REACTIONS = discover(handlers)


@dataclass(frozen=True)
class Bench:
    """`tell` does what the runtime does with an event, without a bus between; documents are left to others."""

    state: Path
    database: Database
    outbox: Outbox
    store: EntryStore
    evidence: Evidence
    collector: Collector
    metrics: Metrics
    activity: Activity
    spool: Spool
    history: ConventionHistory

    async def tell(self, *events: Event) -> list[Event]:
        """React to each in turn; what the reactions returned."""
        facts: list[Event] = []
        services: Mapping[type, object] = {Evidence: self.evidence, Collector: self.collector}
        for event in events:
            if isinstance(event, ConfigChanged):
                await self.history.record(event)
                await self.collector.under_new_conventions(event.at)
            for reaction in REACTIONS:
                if reaction.event is type(event) and set(reaction.services.values()) <= set(services):
                    returned: Any = await reaction.function(event, **bind([reaction], services)[reaction.name])
                    facts += [] if returned is None else [returned]
        return facts

    def entries(self) -> list[Entry]:
        """By start and bead."""
        with contextlib.closing(sqlite3.connect(self.state / "state.db")) as connection:
            digests = [row[0] for row in connection.execute("SELECT sha256 FROM entries")]
        found = [self.store.read(digest) for digest in digests]
        return sorted(found, key=lambda entry: (str(entry.started_at), entry.bead or "", entry.session_id))

    def final(self) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
        """Every row but for when it was stored, and every file with the hash of what is in it."""
        with contextlib.closing(sqlite3.connect(self.state / "state.db")) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute("SELECT * FROM entries ORDER BY entry_id").fetchall()
        columns = rows[0].keys() if rows else []
        told = [tuple((name, row[name]) for name in columns if name != "stored_at") for row in rows]
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.store.objects.glob("*/*")}
        return told, files


@contextlib.asynccontextmanager
async def bench(
    state: Path,
    town: Path,
    settings: CollectionSettings | None = None,
    *,
    clock: Callable[[], float] = time.time,
    known: Iterable[tuple[str, str]] = (),
) -> AsyncIterator[Bench]:
    database = Database.open(state / "state.db")
    try:
        scrubber = Scrubber(dict(known), key=b"k" * 32)
        outbox = Outbox(database, prefix="gtftd", source="test", scrub=lambda value: scrubber.scrub_value(value))
        store, evidence = EntryStore(database, state / "entries", outbox), Evidence(database)
        store.prepare()
        spool, metrics, activity = Spool(state / "spool"), Metrics(), Activity()
        spool.ensure()
        history = ConventionHistory(database, lambda: load_town(town))
        collector = Collector(
            lambda: load_town(town),
            evidence,
            store,
            lambda: scrubber,
            spool,
            settings or CollectionSettings(),
            metrics,
            activity,
            history,
            clock,
        )
        yield Bench(state, database, outbox, store, evidence, collector, metrics, activity, spool, history)
    finally:
        database.close()
