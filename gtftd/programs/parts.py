"""The parts of the daemon, made and wired together: the only place that knows them all."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd import handlers
from gtftd.bus import Bus, EmbeddedServer, Publisher, Runtime, Workplace, bind, discover
from gtftd.control.listing import entries_folder
from gtftd.corpus import BeadDatabases, BeadsAccess, Collector, Documents, EntryStore, Evidence, Filing
from gtftd.corpus.audit import Audit, Taint
from gtftd.corpus.in_force import ConventionHistory
from gtftd.corpus.review import Review, read_restored
from gtftd.corpus.store import EntryRow
from gtftd.errors import GtftdError, NoSpace
from gtftd.health import Health
from gtftd.metrics import Activity, Metrics
from gtftd.programs.scrubbing import LatestScrubber
from gtftd.schemas.event import Event
from gtftd.schemas.settings import SettingsModel
from gtftd.sources.beads import BeadsPoller
from gtftd.sources.commits import CommitsSource
from gtftd.sources.feed import FeedSource
from gtftd.sources.missed_closes import BeadHistory
from gtftd.sources.spool import SpoolSource
from gtftd.sources.surroundings import LatestTown, Surroundings
from gtftd.sources.sweep import Beads, Sweep
from gtftd.sources.watch import Watcher
from gtftd.state import Database, Ledger, Outbox, Parking
from gtftd.town.beads_server import beads_databases
from gtftd.town.estop import EStop
from gtftd.town.layout import load_town
from gtftd.town.screen import socket_name
from gtftd.town.spool import Spool

if TYPE_CHECKING:
    pass

HELD_AGAIN = timedelta(seconds=10)


@dataclass(frozen=True)
class Parts:
    """Everything that runs. Made by `make_parts`, ended by `close`."""

    settings: SettingsModel
    town_root: Path
    state_dir: Path
    boot_id: str
    database: Database
    health: Health
    metrics: Metrics
    activity: Activity
    outbox: Outbox
    ledger: Ledger
    parking: Parking
    bus: Bus
    publisher: Publisher
    runtime: Runtime
    evidence: Evidence
    store: EntryStore
    collector: Collector
    documents: Documents
    audit: Audit
    review: Review
    spool: Spool
    estop: EStop
    town: LatestTown
    poller: BeadsPoller
    spool_source: SpoolSource
    feed: FeedSource
    watcher: Watcher
    sweep: Sweep
    commits: CommitsSource


def make_parts(settings: SettingsModel, town_root: Path, state_dir: Path) -> Parts:
    """Open the state and build every part; nothing runs yet."""
    health, metrics, activity = Health(), Metrics(), Activity()
    database = Database.open(state_dir / "state.db")
    boot_id = str(uuid.uuid4())
    scrubber = LatestScrubber(town_root, state_dir, lambda: read_restored(state_dir / "state.db"))
    slug = load_town(town_root).slug
    outbox = Outbox(database, prefix=settings.bus.prefix, source=f"gtftd/{slug}", scrub=scrubber.scrub_value)
    around = Surroundings(town_root, outbox, database, health, metrics)
    town = LatestTown(around)
    spool = Spool(state_dir / "spool")
    evidence = Evidence(database, settings.labels)
    store = EntryStore(database, entries_folder(state_dir), outbox)
    history = ConventionHistory(database, town.read)
    collector = Collector(town.read, evidence, store, scrubber, spool, settings.collection, metrics, activity, history)
    ledger = Ledger(database, boot_id)
    estop = EStop(town_root)
    embedded = None if settings.bus.url else EmbeddedServer(state_dir / "bus", settings.bus, f"gtftd-{slug}")
    bus = Bus(settings.bus, embedded, health)
    bus.listeners.add(outbox.filled.set)
    place = Workplace(
        bus, ledger, outbox, health, metrics, activity, _hold(estop, town), on_error=_report_state(health)
    )
    reactions = discover(handlers)
    poller = BeadsPoller(town.read, settings.beads, outbox, database, health, metrics)
    documents = _documents(settings, town, Filing(database, store, scrubber), history, evidence, poller)
    services: Mapping[type, object] = {
        Evidence: evidence,
        Collector: collector,
        EntryStore: store,
        Documents: documents,
    }
    runtime = Runtime(reactions, bind(reactions, services), place, database)
    audit = Audit(database, store, outbox, scrubber, _taint(state_dir))
    again = _collect_again(collector, documents, scrubber)
    return Parts(
        settings=settings,
        town_root=town_root,
        state_dir=state_dir,
        boot_id=boot_id,
        database=database,
        health=health,
        metrics=metrics,
        activity=activity,
        outbox=outbox,
        ledger=ledger,
        parking=Parking(database),
        bus=bus,
        publisher=Publisher(outbox, bus, health, metrics, activity),
        runtime=runtime,
        evidence=evidence,
        store=store,
        collector=collector,
        documents=documents,
        audit=audit,
        review=Review(database, store, collector, scrubber, again, town.read),
        spool=spool,
        estop=estop,
        town=town,
        poller=poller,
        spool_source=SpoolSource(
            around, settings.spool, spool, on_beads_touched=poller.wake, may_forget=_may_forget(evidence)
        ),
        feed=FeedSource(around, settings.feed),
        watcher=Watcher(around, settings.watch),
        sweep=_sweep(around, settings, town, spool, poller),
        commits=CommitsSource(around, settings.commits, town),
    )


def _documents(
    settings: SettingsModel,
    town: LatestTown,
    filing: Filing,
    history: ConventionHistory,
    evidence: Evidence,
    poller: BeadsPoller,
) -> Documents:
    """It reads beads over the poller's connection: the town's server sees one of us."""
    access = BeadsAccess(poller.reader, lambda: beads_databases(town.read(), settings.beads))
    databases = BeadDatabases(access, filing, evidence, settings.labels) if settings.beads.enabled else None
    return Documents(town.read, filing, history, settings.collection, settings.labels, databases)


def _taint(state_dir: Path) -> Taint:
    def taint(contents: Collection[str], reason: str) -> list[str]:
        from gtftd.corpus.snapshot import taint as taint_snapshots  # its libraries are large

        return taint_snapshots(state_dir, contents, reason)

    return taint


def _collect_again(
    collector: Collector, documents: Documents, scrubber: LatestScrubber
) -> Callable[[Sequence[EntryRow]], Awaitable[None]]:
    """Sessions by their transcripts; documents all together, by the next collection of their kind."""

    async def again(rows: Sequence[EntryRow]) -> None:
        scrubber.look_again()
        await collector.again(row.session_id for row in rows if row.session_id)
        kinds = {row.kind for row in rows}
        for kind, collect in (("artifact", documents.artifacts), ("interactions", documents.interactions)):
            if kind in kinds:
                async for _ in collect():
                    pass

    return again


def _sweep(around: Surroundings, settings: SettingsModel, town: LatestTown, spool: Spool, poller: BeadsPoller) -> Sweep:
    async def databases() -> tuple[str, ...]:
        return await asyncio.to_thread(lambda: beads_databases(town.read(), settings.beads))

    async def tmux_sessions() -> frozenset[str] | None:
        return await asyncio.to_thread(_tmux_sessions, town)

    beads = Beads(BeadHistory(poller.reader), databases) if settings.beads.enabled else None
    return Sweep(around, settings.sweep, transcripts=spool.transcripts, tmux_sessions=tmux_sessions, beads=beads)


def _tmux_sessions(town: LatestTown) -> frozenset[str] | None:
    """None where tmux is missing or does not answer; the empty set where no server runs."""
    command = ["tmux", "-L", socket_name(town.read()), "list-sessions", "-F", "#{session_name}"]
    try:
        told = subprocess.run(command, capture_output=True, timeout=5, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return frozenset(told.stdout.split("\n")) - {""}


def _hold(estop: EStop, town: LatestTown) -> Callable[[Event], timedelta | None]:
    """Events of a rig whose ESTOP file stands wait; the whole town's stop closes every consumer instead."""

    def hold(event: Event) -> timedelta | None:
        rig = getattr(event, "rig", None)
        if rig is None and (bead := getattr(event, "bead", None)):
            rig = town.read().rig_of_bead(bead)
        return HELD_AGAIN if rig and estop.active(rig) else None

    return hold


def _report_state(health: Health) -> Callable[[GtftdError], None]:
    def report(error: GtftdError) -> None:
        health.degraded("state", "disk.full" if isinstance(error, NoSpace) else "state.busy", str(error))

    return report


def _may_forget(evidence: Evidence) -> Callable[[str], Awaitable[bool]]:
    async def may_forget(session_id: str) -> bool:
        session = await evidence.session(session_id)
        return session is None or session.ended_at is not None

    return may_forget
