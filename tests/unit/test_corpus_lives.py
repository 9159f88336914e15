"""Lives of beads out of exports: their clock, their slings, what became of them, and whose account counts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd.corpus.slings import Death, Sling, slings_of
from gtftd.errors import Invalid, Missing
from gtftd.schemas.corpus import Entry
from gtftd.town.bead_life import BeadLife
from gtftd.town.bead_lives import read_export
from tests.support.documents import SECRET, Desk, counts, desk, last, make_town, write, write_lines

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NUX, SLIT = "harbor/polecats/nux", "harbor/polecats/slit"


def issue(bead: str, minutes: int = 60, **more: object) -> dict[str, object]:
    """A bead as it stood some minutes after AT."""
    at = (AT + minutes * MINUTE).isoformat()
    told = {"id": bead, "title": f"Title of {bead}", "issue_type": "task", "status": "open", "updated_at": at}
    return told | {"created_at": AT.isoformat()} | more


def closed(bead: str, reason: str, minutes: int = 60, **more: object) -> dict[str, object]:
    at = (AT + minutes * MINUTE).isoformat()
    return issue(bead, minutes, status="closed", close_reason=reason, closed_at=at, **more)


def change(
    number: int, bead: str, minutes: int, kind: str, actor: str, new: object = "", old: object = ""
) -> dict[str, object]:
    values = {"new_value": new if isinstance(new, str) else json.dumps(new)}
    values |= {"old_value": old if isinstance(old, str) else json.dumps(old)}
    at = (AT + minutes * MINUTE).isoformat()
    return {"id": number, "issue_id": bead, "event_type": kind, "actor": actor, "created_at": at} | values


def hooked(number: int, bead: str, minutes: int, agent: str, by: str = "mayor") -> dict[str, object]:
    return change(
        number, bead, minutes, "status_changed", by, {"status": "hooked", "assignee": agent}, {"status": "open"}
    )


def begun(number: int, bead: str, minutes: int, agent: str) -> dict[str, object]:
    return change(number, bead, minutes, "status_changed", agent, {"status": "in_progress"}, {"status": "hooked"})


def put_back(number: int, bead: str, minutes: int, by: str) -> dict[str, object]:
    return change(
        number, bead, minutes, "status_changed", by, {"status": "open", "assignee": ""}, {"status": "in_progress"}
    )


def export(folder: Path, issues: list[Mapping[str, object]], **tables: list[dict[str, object]]) -> Path:
    write_lines(folder / "issues.jsonl", issues)
    for name, rows in tables.items():
        write_lines(folder / f"{name}.jsonl", rows)
    return folder


def life_of(folder: Path, rows: list[dict[str, object]], told: Mapping[str, object]) -> BeadLife:
    (life,), _ = read_export(export(folder, [told], events=rows))
    return life


async def told(made: Desk) -> dict[str, Entry]:
    return {entry.bead or "": entry for entry in (await made.entries("operational")).values()}


def facts(entry: Entry) -> dict[str, object]:
    found: dict[str, object] = json.loads(entry.messages[1].content)
    return found


def test_slings_are_read_off_the_history(tmp_path: Path) -> None:
    """Given, taken up, put back, given to another, closed: each turn has its time, its end and its error."""
    rows = [
        hooked(1, "ha-1", 0, NUX), begun(2, "ha-1", 2, NUX), put_back(3, "ha-1", 10, "harbor/witness"),
        hooked(4, "ha-1", 12, SLIT), change(5, "ha-1", 20, "closed", SLIT, "Failed: tests are red"),
        change(6, "ha-1", 30, "reopened", "mayor", {"status": "open"}, {"status": "closed"}),
        hooked(7, "ha-1", 31, NUX), change(8, "ha-1", 33, "updated", "mayor", {"assignee": SLIT}, {"status": "hooked"}),
        change(9, "ha-1", 60, "closed", SLIT, "Fixed in 1a2b3c4"),
    ]  # fmt: skip
    life = life_of(tmp_path, rows, closed("ha-1", "Fixed in 1a2b3c4", assignee=SLIT))
    slings = slings_of(life)
    assert [
        (NUX, "requeue", 600, "requeue"),
        (SLIT, "closed", 480, "failed"),
        (NUX, "resling", 120, "resling"),
        (SLIT, "closed", 1620, None),
    ] == [(sling.actor, sling.how, sling.duration_s, sling.error_type) for sling in slings]
    assert ("mayor", AT + 2 * MINUTE, "harbor/witness") == (slings[0].by, slings[0].began_at, slings[0].ended_by)
    dead = slings_of(life, [Death(NUX, AT + 9 * MINUTE)])
    assert ["session_death", "failed", "resling", None] == [sling.error_type for sling in dead]


def test_what_is_still_held_has_no_end(tmp_path: Path) -> None:
    """And an assignee who came with a claim is its own giver."""
    rows = [change(1, "ha-1", 3, "claimed", NUX, {"status": "in_progress", "assignee": NUX}, {"status": "open"})]
    life = life_of(tmp_path, rows, issue("ha-1", status="in_progress", assignee=NUX))
    assert (Sling(NUX, NUX, AT + 3 * MINUTE, began_at=AT + 3 * MINUTE),) == slings_of(life)


def test_the_clock_of_history_rows_is_brought_to_utc(tmp_path: Path) -> None:
    """By what the bead's own close shows, else by what most closes show."""
    rows = [
        change(1, "ha-1", -480, "closed", NUX, "done"),
        change(2, "ha-2", -470, "status_changed", "mayor", {"status": "hooked"}, {"status": "open"}),
    ]
    lives, _ = read_export(export(tmp_path, [closed("ha-1", "done", 0), issue("ha-2")], events=rows))
    assert [AT, AT + 10 * MINUTE] == [life.changes[0].at for life in lives]


def test_an_export_of_several_days_tells_of_each_bead_as_it_was_last(tmp_path: Path) -> None:
    """In whatever order; one file will do, packed too; a line that is broken or endless is counted."""
    rows = [closed("ha-1", "done", 90), issue("ha-1", 30), issue("../evil"), issue("")]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"id": ' + "\n" + json.dumps(issue("ha-2"))
    path = tmp_path / "issues.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode()))
    for source in (tmp_path, path):
        lives, problems = read_export(source)
        assert [("ha-1", "closed"), ("ha-2", "open")] == [(life.bead, life.issue.status) for life in lives]
        assert {"not_json": 1} == dict(problems)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Invalid, match="no whole gzip"):
        read_export(path)
    with pytest.raises(Missing, match="holds no beads"):
        read_export(tmp_path / "nowhere")


async def test_a_life_is_told_whole_and_scrubbed(tmp_path: Path) -> None:
    """Fields, history, slings, both ends of dependencies, labels, comments; the outcome with its facts."""
    folder = export(
        tmp_path / "export",
        [
            closed("ha-1", "Merged in ha-wisp-9", description=f"use {SECRET}", assignee=NUX, labels=["gt:task"]),
            issue("ha-2"),
        ],
        events=[hooked(1, "ha-1", 0, NUX), change(2, "ha-1", 60, "closed", NUX, "Merged in ha-wisp-9")],
        dependencies=[{"issue_id": "ha-2", "depends_on_id": "ha-1", "type": "blocks"}],
        comments=[{"issue_id": "ha-1", "author": "mayor", "text": "well done", "created_at": AT.isoformat()}],
    )
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        assert (2, 0, 0, 0) == counts(await last(made.documents.operational(folder)))
        found = await told(made)
        entry = found["ha-1"]
        assert ("bead:harbor/ha-1", "harbor", "polecat", NUX, "export") == (
            entry.origin, entry.rig, entry.role, entry.actor, entry.source,
        )  # fmt: skip
        assert ("merged", "unknown") == (entry.outcome.label, found["ha-2"].outcome.label)
        assert not any(message.trainable for message in entry.messages)
        text = entry.messages[0].content
        for part in ("Title of ha-1", "closed after 60 min", "blocks: ha-2 -> ha-1", "well done", "open -> hooked"):
            assert part in text
        assert SECRET not in entry.model_dump_json()
        assert ([["blocks", "ha-2"]], 3600) == (facts(entry)["needed_by"], facts(entry)["slings"][0]["duration_s"])  # type: ignore[index]
        assert (0, 2, 0, 0) == counts(await last(made.documents.operational(folder)))


async def test_merge_requests_convoys_and_digests_carry_what_they_are_about(tmp_path: Path) -> None:
    """Fields of the request, members of the convoy, the patrol that a digest is of."""
    described = "branch: polecat/nux\ntarget: main\nsource_issue: ha-1\nprose: none of ours\nmerge_commit: 1a2b3c4d"
    folder = export(
        tmp_path / "export",
        [
            closed("ha-mr", "Rejected: tests fail", issue_type="merge-request", description=described),
            issue("hq-cv-1", issue_type="convoy"),
            closed("ha-d", "done", title="Digest: mol-witness-patrol"),
        ],
        dependencies=[{"issue_id": "hq-cv-1", "depends_on_external": "ha-1", "type": "tracks"}],
    )
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        await last(made.documents.operational(folder))
        found = await told(made)
        wanted = {"branch": "polecat/nux", "target": "main", "source_issue": "ha-1", "merge_commit": "1a2b3c4d"}
        assert wanted == facts(found["ha-mr"])["attributes"]
        assert ["ha-1"] == facts(found["hq-cv-1"])["convoy"]
        assert ("bead:hq/hq-cv-1", None) == (found["hq-cv-1"].origin, found["hq-cv-1"].rig)
        assert "mol-witness-patrol" == facts(found["ha-d"])["digest_of"]


async def test_mail_is_private(tmp_path: Path) -> None:
    """That it came and went is kept, and nothing that it says: no subject, no text, no reason, no comment."""
    secret = "the quick brown fox"
    folder = export(
        tmp_path / "export",
        [closed("ha-m", secret, issue_type="message", title=secret, description=secret, notes=secret, labels=[secret])],
        events=[change(1, "ha-m", 60, "closed", "mayor", secret)],
        comments=[{"issue_id": "ha-m", "author": "mayor", "text": secret, "created_at": AT.isoformat()}],
    )
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        await last(made.documents.operational(folder))
        entry = (await told(made))["ha-m"]
        assert (False, "message") == ("fox" in entry.model_dump_json(), entry.issue_type)


async def test_many_closes_at_once_by_one_actor_are_a_sweep(tmp_path: Path) -> None:
    """Five within a minute; the sixth, an hour later, was looked at."""
    beads = [f"ha-{number}" for number in range(6)]
    minutes = [60] * 5 + [120]
    folder = export(
        tmp_path / "export",
        [closed(bead, "Closed", at, assignee=NUX) for bead, at in zip(beads, minutes, strict=True)],
        events=[
            change(n, bead, at, "closed", "mayor", "Closed")
            for n, (bead, at) in enumerate(zip(beads, minutes, strict=True))
        ],
    )
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        await last(made.documents.operational(folder))
        found = await told(made)
        swept = [any(fact.kind == "mass_close" for fact in found[bead].outcome.evidence) for bead in beads]
        assert [True] * 5 + [False] == swept


async def test_an_older_export_never_replaces_a_later_account(tmp_path: Path) -> None:
    """Whichever comes first; what tells less of the same moment does not either; running all again changes nothing."""
    town = make_town(tmp_path / "gt", "harbor")
    old = export(tmp_path / "old", [issue("ha-1", 10), closed("ha-2", "done", 20)])
    new = export(
        tmp_path / "new",
        [closed("ha-1", "done", 50), closed("ha-2", "done", 20)],
        events=[change(1, "ha-2", 20, "closed", NUX, "done")],
    )
    states = []
    for name, order in (("a", (old, new)), ("b", (new, old))):
        async with desk(tmp_path / name, town) as made:
            for folder in (*order, *order):
                done = await last(made.documents.operational(folder))
            assert (0, 2, 0, 0) == counts(done)
            states.append({entry.origin: entry.messages for entry in (await told(made)).values()})
    assert states[0] == states[1]


async def test_whose_the_beads_of_an_export_are_can_be_said(tmp_path: Path) -> None:
    """The database and the rig that were named; two databases are refused; strangers go by their prefix."""
    folder = export(tmp_path / "export", [issue("zz-1")])
    async with desk(tmp_path / "state", make_town(tmp_path / "gt", "harbor")) as made:
        await last(made.documents.operational(folder))
        await last(made.documents.operational(folder, ["harbor"]))
        found = await made.entries("operational")
        assert {"bead:zz/zz-1": None, "bead:harbor/zz-1": "harbor"} == {
            name: entry.rig for name, entry in found.items()
        }
        with pytest.raises(Invalid, match="name one"):
            await last(made.documents.operational(folder, ["a", "b"]))
        write(tmp_path / "empty" / "issues.jsonl", "")
        with pytest.raises(Missing):
            await last(made.documents.operational(tmp_path / "empty"))
