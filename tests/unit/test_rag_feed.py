"""What the index is told: the state of the store and of the databases, in any order, and all of it after a gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.corpus import EntryStore
from gtftd.errors import Unreachable
from gtftd.rag import Feed, IndexGone, TouchedBeads
from gtftd.rag.entry_text import collection_of, document_of
from gtftd.rag.feed import PART
from gtftd.schemas.corpus import Entry, Message
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.rag import MAX_TEXT, BeadCard, IndexDocument
from gtftd.scrub.sealed import stored
from gtftd.state import Database, Outbox
from tests.support.entries import artifact, session

AT = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass
class Shelf:
    """An index in memory that says what it holds; it can be gone."""

    held: dict[str, IndexDocument] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    puts: list[str] = field(default_factory=list)
    is_gone: bool = False

    async def put(self, documents: Sequence[IndexDocument], *, forget: bool = False) -> None:
        self._answer()
        await asyncio.sleep(0)
        self.held.update({document.id: document for document in documents})
        self.puts += [document.id for document in documents]

    async def remove(self, ids: Sequence[str], *, forget: bool = False) -> None:
        self._answer()
        for name in ids:
            self.held.pop(name, None)
            self.forgotten += [name] * forget

    async def ids(self, prefix: str) -> frozenset[str]:
        self._answer()
        return frozenset(name for name in self.held if name.startswith(prefix))

    def texts(self) -> dict[str, str]:
        return {name: document.text for name, document in self.held.items()}

    def _answer(self) -> None:
        if self.is_gone:
            raise Unreachable("nothing listens")


@dataclass(frozen=True)
class Bead:
    bead: str
    text: str
    database: str = "harbor"
    title: str = "A task"
    updated_at: datetime = AT
    needs: tuple[str, ...] = ()

    @property
    def card(self) -> BeadCard:
        return BeadCard(bead=self.bead, status="open", needs=self.needs)


@dataclass(frozen=True)
class Part:
    found: tuple[Bead, ...]
    gone: tuple[str, ...]


@dataclass
class Base:
    """The databases of a town: one of its rig `harbor`, one of the town itself."""

    beads: dict[str, dict[str, Bead]] = field(default_factory=lambda: {"harbor": {}, "hq": {}})
    silent: set[str] = field(default_factory=set)

    def write(self, *beads: Bead) -> None:
        for bead in beads:
            self.beads[bead.database][bead.bead] = bead

    async def databases(self) -> dict[str, str | None]:
        return {name: None if name == "hq" else name for name in self.beads}

    async def of(self, database: str, beads: Sequence[str]) -> Part:
        self._answer(database)
        rows = self.beads[database]
        await asyncio.sleep(0)
        return Part(
            tuple(rows[bead] for bead in beads if bead in rows), tuple(bead for bead in beads if bead not in rows)
        )

    async def ids(self, database: str) -> AsyncIterator[list[str]]:
        self._answer(database)
        yield sorted(self.beads[database])

    def _answer(self, database: str) -> None:
        if database in self.silent:
            raise Unreachable(f"{database} does not answer")


@dataclass
class Slow(Base):
    """Answers when it may."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def of(self, database: str, beads: Sequence[str]) -> Part:
        self.asked.set()
        await self.go.wait()
        return await super().of(database, beads)


@dataclass(frozen=True)
class Desk:
    store: EntryStore
    shelf: Shelf
    base: Base
    feed: Feed

    async def put(self, entry: Entry) -> str:
        return (await self.store.put(stored(entry))).sha256


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    database = Database.open(tmp_path / "state.db")
    outbox = Outbox(database, prefix="t", source="t", scrub=lambda value: value)
    store = EntryStore(database, tmp_path / "entries", outbox)
    store.prepare()
    shelf, base = Shelf(), Base()
    yield Desk(store, shelf, base, Feed(shelf, store, base))
    database.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


def life_of(database: str) -> Entry:
    told = {"bead": "ha-1", "type": "task", "status": "open"}
    messages = (
        Message(role="system", content="as it was"),
        Message(role="system", content=json.dumps(told), kind="meta"),
    )
    origin = f"bead:{database}/ha-1"
    return artifact(entry_id=f"life-{database}", kind="operational", origin=origin, messages=messages)


async def fed(feed: Feed) -> CollectProgress:
    return [progress async for progress in feed.everything()][-1]


async def test_an_entry_is_found_under_what_the_store_holds(desk: Desk) -> None:
    """Told twice, told late, told after it was withdrawn: the store decides."""
    entry = artifact("CLAUDE.md")
    await desk.put(entry)
    for _ in range(2):
        await desk.feed.entry_changed(entry.entry_id, "artifact", entry.origin)
    assert ["file:CLAUDE.md"] == list(desk.shelf.held)
    assert desk.shelf.held["file:CLAUDE.md"].instructs
    await desk.store.withdraw([entry.entry_id])
    await desk.feed.entry_changed(entry.entry_id, "artifact", entry.origin)
    assert {} == desk.shelf.held


async def test_a_tainted_content_is_forgotten_and_never_told_again(desk: Desk) -> None:
    """The fact comes before the cleaned content does: until then there is nothing."""
    entry = artifact("CLAUDE.md")
    digest = await desk.put(entry)
    await desk.feed.entry_changed(entry.entry_id, "artifact", entry.origin)
    await desk.feed.entry_changed(entry.entry_id, "artifact", entry.origin, tainted=digest)
    assert ({}, ["file:CLAUDE.md"]) == (desk.shelf.held, desk.shelf.forgotten)
    await desk.put(entry.model_copy(update={"messages": (Message(role="system", content="clean"),)}))
    await desk.feed.entry_changed(entry.entry_id, "artifact", entry.origin, tainted=digest)
    assert "clean" == desk.shelf.held["file:CLAUDE.md"].text


async def test_beads_are_told_with_those_that_hang_on_them(desk: Desk) -> None:
    desk.base.write(Bead("ha-1", "needs the other", needs=("ha-2",)), Bead("ha-2", "the other"), Bead("ha-3", "alone"))
    await desk.feed.beads_changed("harbor", ["ha-1", "ha-1"])
    assert ["bead:harbor/ha-1", "bead:harbor/ha-2"] == desk.shelf.puts
    assert {"harbor"} == {document.rig for document in desk.shelf.held.values()}


async def test_a_bead_that_is_gone_is_not_found(desk: Desk) -> None:
    desk.base.write(Bead("ha-1", "here"), Bead("ha-2", "here"))
    await desk.feed.beads_changed("harbor", ["ha-1", "ha-2"])
    del desk.base.beads["harbor"]["ha-1"]
    await desk.feed.beads_changed("harbor", ["ha-1"])
    assert ["bead:harbor/ha-2"] == list(desk.shelf.held)
    del desk.base.beads["harbor"]["ha-2"]
    await desk.feed.compare()
    assert {} == desk.shelf.held


async def test_the_stored_life_of_a_bead_never_takes_the_place_of_what_its_database_says(desk: Desk) -> None:
    """It is older; where the database does not answer, or is not the town's, it is better than nothing."""
    desk.base.write(Bead("ha-1", "as it is now"))
    lives = {database: life_of(database) for database in ("harbor", "exported")}
    for entry in lives.values():
        await desk.put(entry)
        await desk.feed.entry_changed(entry.entry_id, "operational", entry.origin)
    assert {"bead:harbor/ha-1": "as it is now", "bead:exported/ha-1": "as it was"} == desk.shelf.texts()
    await fed(desk.feed)
    assert {"bead:harbor/ha-1": "as it is now", "bead:exported/ha-1": "as it was"} == desk.shelf.texts()
    desk.base.silent.add("harbor")
    desk.shelf.held.clear()
    await fed(desk.feed)
    assert {"bead:harbor/ha-1": "as it was", "bead:exported/ha-1": "as it was"} == desk.shelf.texts()


async def test_what_another_rig_keeps_to_itself_is_not_read(desk: Desk) -> None:
    await desk.feed.beads_changed("lantern", ["la-1"])
    assert {} == desk.shelf.held


async def test_an_older_reading_never_follows_a_newer_one(desk: Desk) -> None:
    """Many tellings of one bead at once, while it changes."""
    async with asyncio.TaskGroup() as group:
        for number in range(50):
            desk.base.write(Bead("ha-1", f"text {number}"))
            group.create_task(desk.feed.beads_changed("harbor", ["ha-1"]))
            await asyncio.sleep(0)
    assert "text 49" == desk.shelf.held["bead:harbor/ha-1"].text


async def test_a_touched_bead_is_told_while_the_poller_reads_others(desk: Desk) -> None:
    slow, second = Slow(), Base()
    feed = Feed(desk.shelf, desk.store, slow)
    touched = TouchedBeads(feed, second, lambda bead: None if bead == "zz-1" else "harbor")
    for base in (slow, second):
        base.write(Bead("ha-1", "now"), Bead("ha-2", "other", needs=("ha-3",)), Bead("ha-3", "needed"))
    async with asyncio.TaskGroup() as group:
        long = group.create_task(feed.beads_changed("harbor", ["ha-2"]))
        short = group.create_task(touched.run())
        touched.touch(["zz-1", "ha-2", "ha-1"])
        await asyncio.wait_for(slow.asked.wait(), 5)
        await until(lambda: "bead:harbor/ha-1" in desk.shelf.held)
        assert "bead:harbor/ha-2" not in desk.shelf.held  # its turn is taken: a newer reading follows the older
        slow.go.set()
        await long
        await until(lambda: desk.shelf.puts.count("bead:harbor/ha-2") == 2)
        short.cancel()
    assert 1 == desk.shelf.puts.count("bead:harbor/ha-3")  # what hangs on it is the poller's


async def test_a_touched_bead_of_a_silent_database_is_left_to_the_poller(desk: Desk) -> None:
    touched = TouchedBeads(desk.feed, desk.base, lambda _: "harbor")
    desk.base.silent.add("harbor")
    running = asyncio.create_task(touched.run())
    touched.touch(["ha-1"])
    await asyncio.sleep(0.1)
    desk.base.silent.clear()
    desk.base.write(Bead("ha-1", "now"), Bead("ha-2", "now"))
    touched.touch(["ha-2"])
    await until(lambda: "bead:harbor/ha-2" in desk.shelf.held)
    running.cancel()
    assert ["bead:harbor/ha-2"] == list(desk.shelf.held)


async def test_an_index_that_is_gone_delays_nothing_and_is_fed_everything_later(desk: Desk) -> None:
    entry = session(1)
    desk.shelf.is_gone = True
    await desk.put(entry)
    desk.base.write(Bead("ha-1", "here"), Bead("hq-1", "town", database="hq"))
    await desk.feed.entry_changed(entry.entry_id, "session", entry.origin)
    await desk.feed.beads_changed("harbor", ["ha-1"])
    assert desk.feed.behind.is_set()
    with pytest.raises(IndexGone):
        await fed(desk.feed)
    assert desk.feed.behind.is_set()
    desk.shelf.is_gone = False
    assert (True, "") == ((told := await fed(desk.feed)).finished, told.note)
    assert {f"session:{entry.entry_id}", "bead:harbor/ha-1", "bead:hq/hq-1"} == set(desk.shelf.held)
    assert not desk.feed.behind.is_set()


async def test_feeding_everything_removes_what_is_nowhere(desk: Desk) -> None:
    kept = [artifact("CLAUDE.md"), session(1), *(session(number) for number in range(2, 5))]
    for entry in kept:
        await desk.put(entry)
    for number in range(PART + 3):
        desk.base.write(Bead(f"ha-{number}", "here"))
    ghost = document_of(artifact("gone/CLAUDE.md"), AT)
    assert ghost is not None
    await desk.shelf.put([ghost, ghost.model_copy(update={"id": "session:gone"}),
                          ghost.model_copy(update={"id": "bead:harbor/gone"})])  # fmt: skip
    await fed(desk.feed)
    wanted = {"file:CLAUDE.md"} | {f"session:{entry.entry_id}" for entry in kept[1:]}
    assert wanted | {f"bead:harbor/ha-{number}" for number in range(PART + 3)} == set(desk.shelf.held)


async def test_a_database_that_does_not_answer_is_named(desk: Desk) -> None:
    desk.base.write(Bead("hq-1", "town", database="hq"))
    desk.base.silent.add("harbor")
    assert "harbor: harbor does not answer" == (await fed(desk.feed)).note
    assert ["bead:hq/hq-1"] == list(desk.shelf.held)


async def test_without_an_index_nothing_is_read(desk: Desk) -> None:
    feed = Feed(desk.shelf, desk.store, desk.base, is_off=True)
    await desk.put(session(1))
    await feed.entry_changed(session(1).entry_id, "session", "")
    await feed.beads_changed("harbor", ["ha-1"])
    assert ({}, False) == (desk.shelf.held, feed.behind.is_set())


def test_each_kind_has_its_collection() -> None:
    origins = {
        "file:CLAUDE.md": "configs",
        "file:directives/deacon.md": "configs",
        "file:.beads/formulas/mol-polecat-work.formula.toml": "formulas",
        "file:gastown/mayor/rig/docs/reference.md": "docs",
    }
    assert origins == {origin: collection_of("artifact", origin) for origin in origins}
    kinds = {
        "session": "sessions",
        "operational": "beads",
        "prime": "configs",
        "curated": "docs",
        "interactions": "docs",
    }
    assert kinds == {kind: collection_of(kind, "") for kind in kinds}  # type: ignore[arg-type]


def test_of_a_session_the_words_and_commands_are_told_and_no_output_of_tools() -> None:
    document = document_of(session(1), AT)
    assert document is not None
    assert "user: Begin.\n\nagent: done\n\nran: bd sync" == document.text
    assert ("sessions", "gastown", ("polecat",), False) == (
        document.collection, document.rig, document.roles, document.instructs
    )  # fmt: skip


def test_what_gt_prime_printed_is_told() -> None:
    """It is no turn of a conversation, and all that is known of gt's own templates."""
    printed = Message(role="system", content="# Witness Context", kind="meta")
    document = document_of(artifact(kind="prime", origin="prime:witness", role="witness", messages=(printed,)), AT)
    assert document is not None
    assert ("# Witness Context", "configs", True) == (document.text, document.collection, document.instructs)


def test_a_text_without_an_end_is_cut_and_says_so() -> None:
    huge = artifact("docs/huge.md", messages=(Message(role="system", content="x" * (MAX_TEXT + 1)),))
    document = document_of(huge, AT)
    assert document is not None
    assert MAX_TEXT == len(document.text)
    assert document.text.endswith("longer than what is indexed]")


def test_what_says_nothing_is_no_document() -> None:
    assert document_of(artifact("docs/empty.md", messages=(Message(role="system", content=" \n"),)), AT) is None
