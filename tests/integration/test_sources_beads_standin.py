"""The beads poller against the stand-in for Dolt, which a machine without any server has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import create_database
from gtftd.sampletown.exports import load_export
from gtftd.sampletown.schema import Schema
from gtftd.sampletown.standin import StandIn
from gtftd.town import beads as town_beads
from gtftd.town.layout import Rig
from tests.support.beads_poller import Place, counted, cursors, make_place, replay, until, until_told
from tests.support.mariadb import read_export


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    folder = tmp_path / "dolt"
    folder.mkdir()
    with StandIn(folder) as started:
        yield started


@pytest.fixture
async def place(tmp_path: Path, standin: StandIn) -> AsyncIterator[Place]:
    made = make_place(tmp_path / "state", standin.port, "hq", poll_s=0.05, backoff_most_s=0.05)
    yield made
    await made.close()


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_a_bead_through_its_life(standin: StandIn, place: Place, schema: Schema) -> None:
    """Create, hook, close, close again, reopen, close: each is told once, wisps too."""
    create_database(standin.folder, "hq", schema)
    beads = Beads(standin.folder, "hq", "hq")
    poller = place.poller()
    await poller.poll()
    bead = beads.create("Fix it", actor="mayor")
    beads.hook(bead, "gastown/polecats/nux", actor="mayor")
    beads.close(bead, "done", actor="gastown/polecats/nux")
    await poller.poll()
    beads.close(bead, "Merged in hq-wisp-1", actor="gastown/refinery")
    beads.reopen(bead, actor="mayor/")
    beads.close(beads.create("mail", actor="mayor", wisp=True), "read", actor="mayor")
    await poller.poll()
    beads.close(bead, "done at last", actor="mayor")
    await poller.poll()
    beads.close_connection()
    story = [
        (fact["subject"], fact["episode"])
        for fact in await place.told("bead.closed", "bead.reopened")
        if fact["bead"] == bead
    ]
    assert story == [("bead.closed", 1), ("bead.reopened", 2), ("bead.closed", 2)]
    assert await counted(place) == {"closed": 3, "reopened": 1, "again": 1}
    (assigned,) = await place.told("bead.assigned")
    assert assigned["actor"] == "gastown/polecats/nux"


async def test_a_touched_bead_is_looked_up_where_it_is_kept(
    tmp_path: Path, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With six questions, none to another database; without news there every one of them is looked at."""
    for name in ("hq", "harbor", "lantern"):
        create_database(standin.folder, name)
    place = make_place(tmp_path / "state", standin.port, "hq", "harbor", "lantern", poll_s=3600)
    place.rigs = (Rig("harbor", place.root / "harbor", "hb"), Rig("lantern", place.root / "lantern", "lt"))
    homes = [
        Beads(standin.folder, name, prefix) for name, prefix in (("hq", "hq"), ("harbor", "hb"), ("lantern", "lt"))
    ]
    poller = place.poller()
    await poller.poll()
    known = [home.create("Fix it", actor="mayor") for home in homes]
    await poller.poll()
    for home, bead in zip(homes, known, strict=True):
        home.close(bead, "done", actor="mayor")
    asked = count_questions(monkeypatch)
    poller.wake([known[1]])
    assert 2 == await poller.poll()
    assert [known[1]] == [fact["bead"] for fact in await place.told("bead.closed")]
    assert 6 == len(asked)
    poller.wake([known[1], "xx-unknown"])
    await poller.poll()
    assert set(known) == {fact["bead"] for fact in await place.told("bead.closed")}
    for home in homes:
        home.close_connection()
    await place.close()


async def test_wake_ups_of_one_database_do_not_starve_the_others(tmp_path: Path, standin: StandIn) -> None:
    """They are looked at each `poll_s`, however often the poller is woken."""
    for name in ("hq", "harbor"):
        create_database(standin.folder, name)
    place = make_place(tmp_path / "state", standin.port, "hq", "harbor", poll_s=0.2)
    place.rigs = (Rig("harbor", place.root / "harbor", "hb"),)
    town, rig = Beads(standin.folder, "hq", "hq"), Beads(standin.folder, "harbor", "hb")
    poller = place.poller()
    await poller.poll()
    town.close(town.create("Fix it", actor="mayor"), "done", actor="mayor")
    task = asyncio.create_task(poller.run())
    async with asyncio.timeout(30):
        while not await place.told("bead.closed"):
            poller.wake([rig.create("Another one", actor="mayor")])
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])
    for home in (town, rig):
        home.close_connection()
    await place.close()


def count_questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with what is asked of the server from now on."""
    asked: list[str] = []
    fetch = town_beads._fetch

    async def counted_fetch(connection: Any, sql: str, values: Sequence[object]) -> Any:
        asked.append(sql)
        return await fetch(connection, sql, values)

    monkeypatch.setattr(town_beads, "_fetch", counted_fetch)
    return asked


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_the_real_exports(standin: StandIn, place: Place, shared_data: Path, schema: Schema) -> None:
    """Loaded into the stand-in and polled: the counts of the data."""
    folder = shared_data / "gastown" / "beads-backup-2026-03"
    create_database(standin.folder, "hq", schema)
    poller = place.poller()
    await poller.poll()
    load_export(standin, "hq", folder, schema)
    await poller.poll()
    assert await counted(place) == replay(read_export(folder / "events.jsonl"))


async def test_the_stand_in_goes_and_comes(standin: StandIn, place: Place) -> None:
    """A stopped server and a database that is not there yet are conditions that heal by themselves."""
    poller = place.poller()
    task = asyncio.create_task(poller.run())
    await until(lambda: place.condition("dolt:hq") == "dolt.database_missing")
    create_database(standin.folder, "hq")
    await until(lambda: "beads:hq" in cursors(place))
    standin.stop()
    await until(lambda: place.condition("dolt") == "dolt.unreachable")
    beads = Beads(standin.folder, "hq", "hq")
    beads.close(beads.create("Fix it", actor="mayor"), "done", actor="mayor")
    beads.close_connection()
    standin.start()
    await until_told(place, 1)
    assert place.condition("dolt") == ""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
