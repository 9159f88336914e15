"""The lives of beads out of a town's databases: MariaDB in both schemas, and the stand-in for Dolt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gtftd.errors import Missing
from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import create_database
from gtftd.sampletown.standin import StandIn
from gtftd.schemas.corpus import Entry
from gtftd.schemas.town import BeadClosed, MergeDecided
from tests.support.documents import SECRET, Desk, counts, desk, last, make_town
from tests.support.mariadb import BeadsDatabase, MariaDb, Schema, issue_rows, read_export, start_mariadb

AT = datetime(2026, 3, 1, 12, 0, 0)  # noqa: DTZ001  # a DATETIME has no zone
MINUTE = timedelta(minutes=1)
NUX = "harbor/polecats/nux"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    started = start_mariadb(tmp_path_factory.mktemp("mariadb"))
    yield started
    started.stop()


async def told(made: Desk) -> dict[str, Entry]:
    return {entry.bead or "": entry for entry in (await made.entries("operational")).values()}


def facts(entry: Entry) -> dict[str, object]:
    found: dict[str, object] = json.loads(entry.messages[1].content)
    return found


def slung_and_merged(beads: BeadsDatabase, bead: str, at: datetime) -> None:
    state = {"status": "hooked", "assignee": NUX}
    beads.write(bead, "status_changed", at=at, old={"status": "open"}, new=state, **state)
    beads.close_bead(bead, "Merged in hq-wisp-1", at=at + 30 * MINUTE, actor=NUX)


def of_harbor(bead: str, at: str = "2026-03-01T13:00:00Z") -> BeadClosed:
    return BeadClosed.model_validate(
        {"at": at, "seen_by": "poll", "database": "harbor", "bead": bead, "status": "closed"}
    )


@pytest.mark.mariadb
@pytest.mark.parametrize("schema", ["old", "new"])
async def test_every_bead_of_every_database_is_told_once(server: MariaDb, tmp_path: Path, schema: Schema) -> None:
    """Wisps too, with labels and comments where there are such tables; a second run changes nothing."""
    town = make_town(tmp_path / "gt", "harbor")
    beads = server.beads("harbor", schema)
    server.beads("hq", schema, wisps=False).close_bead("hq-1", "done", at=AT)
    beads.run("CREATE TABLE labels (issue_id VARCHAR(255), label VARCHAR(255))")
    beads.run(
        "CREATE TABLE comments (id INT, issue_id VARCHAR(255), author VARCHAR(255), text LONGTEXT, created_at DATETIME)"
    )
    slung_and_merged(beads, "ha-1", AT)
    beads.run("UPDATE issues SET description = %s WHERE id = 'ha-1'", (f"use {SECRET}",))
    beads.insert("labels", [{"issue_id": "ha-1", "label": "zfc"}])
    beads.insert("comments", [{"id": 1, "issue_id": "ha-1", "author": "mayor", "text": "fine", "created_at": AT}])
    target = "depends_on_id" if schema == "old" else "depends_on_issue_id"
    beads.insert("dependencies", [{"issue_id": "ha-2", target: "ha-1", "type": "blocks"}])
    beads.write("ha-2", "created", at=AT)
    beads.close_bead("hq-wisp-1", "merged", at=AT, wisp=True)
    async with desk(tmp_path / "state", town, port=server.port, databases=("hq", "harbor")) as made:
        done = await last(made.documents.operational())
        assert ((4, 0, 0, 0), 4) == (counts(done), done.total)
        found = await told(made)
        entry = found["ha-1"]
        assert ("bead:harbor/ha-1", "harbor", "polecat", "dolt", "merged") == (
            entry.origin, entry.rig, entry.role, entry.source, entry.outcome.label,
        )  # fmt: skip
        assert ([["blocks", "ha-2"]], ["zfc"], 1800) == (
            facts(entry)["needed_by"],
            facts(entry)["labels"],
            facts(entry)["slings"][0]["duration_s"],  # type: ignore[index]
        )
        assert (True, False) == ("fine" in entry.messages[0].content, SECRET in entry.model_dump_json())
        assert (None, "bead:hq/hq-1") == (found["hq-1"].rig, found["hq-1"].origin)
        again = [progress async for progress in made.documents.operational()]
        assert ({4}, 4) == ({progress.total for progress in again}, again[-1].unchanged)
        assert (0, 1, 0, 0) == counts(await last(made.documents.operational(databases=["hq"])))
        with pytest.raises(Missing, match="no database of this town"):
            await last(made.documents.operational(databases=["mysql"]))


@pytest.mark.mariadb
async def test_one_bead_is_told_anew_when_it_changes(server: MariaDb, tmp_path: Path) -> None:
    """The same entry as the whole run makes; a bead of a stranger's database is never looked up."""
    town = make_town(tmp_path / "gt", "harbor")
    beads = server.beads("harbor")
    for number in range(5):
        beads.close_bead(f"ha-{number}", "Closed", at=AT + timedelta(seconds=number))
    async with desk(tmp_path / "state", town, port=server.port, databases=("harbor",)) as made:
        await made.documents.bead_changed(of_harbor("ha-4"))
        alone = await told(made)
        assert ["ha-4"] == list(alone)
        assert any(fact.kind == "mass_close" for fact in alone["ha-4"].outcome.evidence)
        assert (4, 1, 0, 0) == counts(await last(made.documents.operational()))
        beads.close_bead("ha-4", "Merged in hq-wisp-7", at=AT + MINUTE)
        await made.documents.bead_changed(of_harbor("ha-4"))
        assert "merged" == (await told(made))["ha-4"].outcome.label
        await made.documents.bead_changed(of_harbor("ha-gone"))
        await made.documents.bead_changed(of_harbor("ha-1").model_copy(update={"database": "mysql"}))
        assert 5 == len(await told(made))


@pytest.mark.mariadb
async def test_later_evidence_relabels_the_life(server: MariaDb, tmp_path: Path) -> None:
    """A request that was sent back makes the bead rejected; a bead whose life nobody has told stays untold."""
    town = make_town(tmp_path / "gt", "harbor")
    beads = server.beads("harbor")
    beads.close_bead("ha-1", "Fixed it", at=AT, actor=NUX)
    beads.close_bead("ha-2", "Fixed it", at=AT, actor=NUX)
    async with desk(tmp_path / "state", town, port=server.port, databases=("harbor",)) as made:
        await made.documents.bead_changed(of_harbor("ha-1"))
        assert "completed" == (await told(made))["ha-1"].outcome.label
        decision = MergeDecided.model_validate({
            "at": "2026-03-01T14:00:00Z", "seen_by": "poll", "database": "harbor", "request": "ha-mr",
            "bead": "ha-1", "reason": "rejected: tests fail", "actor": NUX,
        })  # fmt: skip
        await made.documents.evidence_changed([*await made.evidence.add_decision(decision), "ha-2", "zz-1"])
        assert {"ha-1": "rejected"} == {bead: entry.outcome.label for bead, entry in (await told(made)).items()}


@pytest.mark.mariadb
async def test_the_servers_clock_is_corrected(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """History rows in the server's zone, issues in UTC: what was slung half an hour before its close says so."""
    town = make_town(tmp_path / "gt", "harbor")
    server = start_mariadb(tmp_path_factory.mktemp("zone"), "-08:00")
    try:
        beads = server.beads("harbor", "old")
        slung_and_merged(beads, "ha-1", AT)
        beads.run("UPDATE issues SET closed_at = %s, updated_at = %s", (AT + 510 * MINUTE, AT + 510 * MINUTE))
        async with desk(tmp_path / "state", town, port=server.port, databases=("harbor",)) as made:
            await last(made.documents.operational())
            sling = facts((await told(made))["ha-1"])["slings"][0]  # type: ignore[index]
            assert ("2026-03-01T20:00:00+00:00", 1800) == (sling["at"], sling["duration_s"])
    finally:
        await asyncio.to_thread(server.stop)


@pytest.mark.mariadb
@pytest.mark.heavy
async def test_the_real_history_gives_the_same_labels_from_a_database_as_from_the_export(
    server: MariaDb, tmp_path: Path, shared_data: Path
) -> None:
    """Two ways in, one judge: every closed bead has the label that the export gives it."""
    town = make_town(tmp_path / "gt", "gastown")
    folder = shared_data / "gastown" / "beads-backup-2026-03"
    issues, events = read_export(folder / "issues.jsonl"), read_export(folder / "events.jsonl")
    some = {issue["id"] for issue in issues[::7]}
    beads = server.beads("gastown", "new")
    beads.insert("issues", issue_rows(issues))
    beads.insert("events", [beads.event_row(row) for row in events])
    async with desk(tmp_path / "a", town, port=server.port, databases=("gastown",)) as made:
        done = await last(made.documents.operational())
        assert (len(issues), len(issues), 0) == (done.total, done.stored, done.skipped)
        ours = {bead: entry.outcome for bead, entry in (await told(made)).items() if bead in some}
    async with desk(tmp_path / "b", town) as made:
        await last(made.documents.operational(folder, ["gastown"]))
        theirs = {bead: entry.outcome for bead, entry in (await told(made)).items() if bead in some}
    assert theirs == ours


@pytest.mark.parametrize("schema", ["old", "new"])
async def test_the_stand_in_is_read_too(tmp_path: Path, schema: Schema) -> None:
    """A machine without any server has it: a bead is created, hooked, closed, and told."""
    town, folder = make_town(tmp_path / "gt", "harbor"), tmp_path / "dolt"
    folder.mkdir()
    create_database(folder, "harbor", schema)
    beads = Beads(folder, "harbor", "ha")
    bead = beads.create("Fix it", actor="mayor")
    beads.hook(bead, NUX, actor="mayor")
    beads.close(bead, "Merged in ha-wisp-1", actor="harbor/refinery")
    beads.close(beads.create("mail", actor="mayor", wisp=True), "read", actor="mayor")
    beads.close_connection()
    with StandIn(folder) as standin:
        async with desk(tmp_path / "state", town, port=standin.port, databases=("harbor",)) as made:
            assert (2, 0, 0, 0) == counts(await last(made.documents.operational()))
            entry = (await told(made))[bead]
            assert ("merged", NUX, "harbor") == (entry.outcome.label, entry.actor, entry.rig)
            assert (0, 2, 0, 0) == counts(await last(made.documents.operational()))


async def test_a_town_without_a_server_is_left_alone(tmp_path: Path) -> None:
    """A closed bead is no failure there; the collection says which database did not answer."""
    town = make_town(tmp_path / "gt", "harbor")
    async with desk(tmp_path / "state", town, port=1, databases=("harbor",)) as made:
        await made.documents.bead_changed(of_harbor("ha-1"))
        done = await last(made.documents.operational())
        assert ((0, 0, 0, 0), True) == (counts(done), done.note.startswith("harbor: the beads server"))
    async with desk(tmp_path / "other", town) as made:
        await made.documents.bead_changed(of_harbor("ha-1"))
        assert "switched off" in (await last(made.documents.operational())).note
