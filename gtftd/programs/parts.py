"""The parts of the daemon, made and wired together: the only place that knows them all."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from gtftd import handlers
from gtftd.bus import Bus, EmbeddedServer, Publisher, Runtime, Workplace, bind, discover
from gtftd.control.listing import entries_folder
from gtftd.corpus import BeadDatabases, BeadsAccess, Collector, Documents, EntryStore, Evidence, Filing
from gtftd.corpus.audit import Audit, Taint
from gtftd.corpus.in_force import ConventionHistory
from gtftd.corpus.living import LivingBeads
from gtftd.corpus.review import Review, read_restored
from gtftd.corpus.rows import EntryRow
from gtftd.errors import GtftdError, NoSpace
from gtftd.health import Health
from gtftd.metrics import Activity, Metrics
from gtftd.programs.indexing import IndexKeeper, IndexLine, TownBeads
from gtftd.programs.training import Trainings
from gtftd.projection import Projector
from gtftd.rag import Feed, TouchedBeads
from gtftd.registry import FOLDER, BeadFace, Models, Registry
from gtftd.schemas.event import Event
from gtftd.schemas.settings import SettingsModel
from gtftd.scrub.latest import LatestScrubber
from gtftd.sources.beads import BeadsPoller
from gtftd.sources.commits import CommitsSource
from gtftd.sources.feed import FeedSource
from gtftd.sources.missed_closes import BeadHistory
from gtftd.sources.spool import SpoolSource
from gtftd.sources.surroundings import LatestTown, Surroundings
from gtftd.sources.sweep import Beads, Sweep
from gtftd.sources.watch import Watcher
from gtftd.state import Database, Ledger, Outbox, Parking
from gtftd.town.bd import Bd
from gtftd.town.beads import BeadsReader
from gtftd.town.beads_server import beads_databases, beads_port, database_of_bead
from gtftd.town.estop import EStop
from gtftd.town.layout import load_town
from gtftd.town.screen import socket_name
from gtftd.town.spool import Spool
from gtftd.training import Requests

HELD_AGAIN = timedelta(seconds=10)


class Ground:
    """What the other parts stand on: the state, the town, and whom to tell how things are."""

    def __init__(self, settings: SettingsModel, town_root: Path, state_dir: Path) -> None:
        self.settings = settings
        self.town_root = town_root
        self.state_dir = state_dir
        self.boot_id = str(uuid.uuid4())
        self.health, self.metrics, self.activity = Health(), Metrics(), Activity()
        self.database = Database.open(state_dir / "state.db")
        self.scrubber = LatestScrubber(town_root, state_dir, lambda: read_restored(state_dir / "state.db"))
        self.slug = load_town(town_root).slug
        prefix, source = settings.bus.prefix, f"gtftd/{self.slug}"
        self.outbox = Outbox(self.database, prefix=prefix, source=source, scrub=self.scrubber.scrub_value)
        self.around = Surroundings(town_root, self.outbox, self.database, self.health, self.metrics)
        self.town = LatestTown(self.around)
        self.spool = Spool(state_dir / "spool")
        self.estop = EStop(town_root)


class Parts(Ground):
    """Everything that runs. Making it opens the state; nothing runs yet. `database.close` ends it."""

    def __init__(self, settings: SettingsModel, town_root: Path, state_dir: Path) -> None:
        super().__init__(settings, town_root, state_dir)
        self.evidence = Evidence(self.database, settings.labels)
        self.poller = BeadsPoller(self.town.read, settings.beads, self.outbox, self.database, self.health, self.metrics)
        self._make_corpus()
        self._make_index()
        self._make_registry()
        self._make_bus()
        self._make_sources()

    def _make_corpus(self) -> None:
        """Beads are read over the poller's connection, so that the town's server sees few of us."""
        settings, town, scrubber = self.settings, self.town.read, self.scrubber
        history = ConventionHistory(self.database, town)
        self.store = EntryStore(self.database, entries_folder(self.state_dir), self.outbox)
        self.collector = Collector(
            town, self.evidence, self.store, scrubber, self.spool, settings.collection, self.metrics, self.activity,
            history,
        )  # fmt: skip
        filing = Filing(self.database, self.store, scrubber)
        self.access = BeadsAccess(self.poller.reader, lambda: beads_databases(town(), settings.beads))
        databases = (
            BeadDatabases(self.access, filing, self.evidence, settings.labels) if settings.beads.enabled else None
        )
        self.documents = Documents(town, filing, history, settings.collection, settings.labels, databases)
        self.audit = Audit(self.database, self.store, self.outbox, scrubber, _taint(self.state_dir))
        again = _collect_again(self.collector, self.documents, scrubber)
        self.review = Review(self.database, self.store, self.collector, scrubber, again, town)

    def _make_index(self) -> None:
        settings, town = self.settings, self.town.read

        def over(access: BeadsAccess) -> TownBeads:
            return TownBeads(LivingBeads(access, self.scrubber), town, settings.collection, self.database)

        self.index = IndexLine(self.state_dir)
        beads = over(self.access) if settings.beads.enabled else None
        self.feed_of_index = Feed(self.index, self.store, beads, is_off=not settings.rag.enabled)
        self.second_reader = BeadsReader(settings.beads, lambda: beads_port(town(), settings.beads))
        second = over(BeadsAccess(self.second_reader, self.access.databases))
        self.touched = TouchedBeads(self.feed_of_index, second, self._database_of)
        self.keeper_of_index = IndexKeeper(
            settings, self.state_dir, self.index, self.feed_of_index, self.database, self.scrubber, self.health
        )

    def _make_registry(self) -> None:
        self.models = Models(self.database, self.outbox, self.state_dir / FOLDER)
        bd = Bd(load_town(self.town_root))
        self.projector = Projector(self.settings, self.town.read, self.database, self.health)
        self.bead_face = BeadFace(self.database, bd, self.health, self._is_stopped)
        self.trainings = Trainings(
            self.state_dir, self.settings.training, self._registry, self.health,
            is_stopped=self._is_stopped, changed=self.registry_changed, metrics=self.metrics.training,
        )  # fmt: skip

    def registry_changed(self) -> None:
        """Records were changed here or by a command: whoever tells of them is woken."""
        self.outbox.filled.set()
        self.bead_face.wake()
        self.projector.filled.set()

    def _is_stopped(self) -> bool:
        return self.estop.active() is not None

    def _registry(self) -> Registry:
        return Registry.open(self.state_dir, self.settings.registry.trusted_keys, self.outbox)

    async def tidy_registry(self) -> None:
        """What a kill left of models. A registry that cannot be used is told of, and the daemon goes on."""
        try:
            await asyncio.to_thread(lambda: self._registry().tidy())
        except (GtftdError, OSError) as error:
            self.health.degraded("registry", "registry.unusable", str(error))

    async def follow_touched(self) -> None:
        """Until cancelled."""
        try:
            await self.touched.run()
        finally:
            await self.second_reader.close()

    def _database_of(self, bead: str) -> str | None:
        """None for a bead of nobody, and for one of a rig that is stopped."""
        town = self.town.read()
        return None if self.estop.active(town.rig_of_bead(bead)) else database_of_bead(town, bead)

    def _touch(self, beads: Collection[str]) -> None:
        self.poller.wake(beads)
        if self.settings.rag.enabled and self.settings.beads.enabled:
            self.touched.touch(beads)

    def _make_bus(self) -> None:
        settings = self.settings.bus
        embedded = None if settings.url else EmbeddedServer(self.state_dir / "bus", settings, f"gtftd-{self.slug}")
        self.bus = Bus(settings, embedded, self.health)
        self.bus.listeners.add(self.outbox.filled.set)
        self.publisher = Publisher(self.outbox, self.bus, self.health, self.metrics, self.activity)
        self.ledger = Ledger(self.database, self.boot_id)
        self.parking = Parking(self.database)
        hold, on_error = _hold(self.estop, self.town), _report_state(self.health)
        place = Workplace(
            self.bus, self.ledger, self.outbox, self.health, self.metrics, self.activity, hold, on_error=on_error
        )
        services: Mapping[type, object] = {
            Evidence: self.evidence, Collector: self.collector, EntryStore: self.store, Documents: self.documents,
            Feed: self.feed_of_index, Models: self.models,
            Requests: Requests(self.settings.training, self.trainings.request),
        }  # fmt: skip
        reactions = discover(handlers)
        self.runtime = Runtime(reactions, bind(reactions, services), place, self.database)

    def _make_sources(self) -> None:
        settings = self.settings
        self.spool_source = SpoolSource(
            self.around, settings.spool, self.spool, on_beads_touched=self._touch,
            may_forget=_may_forget(self.evidence),
        )  # fmt: skip
        self.feed = FeedSource(self.around, settings.feed)
        self.watcher = Watcher(self.around, settings.watch)
        self.sweep = _sweep(self.around, settings, self.town, self.spool, self.poller)
        self.commits = CommitsSource(self.around, settings.commits, self.town)


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
