"""The writer leaves what `bd` leaves."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.errors import Missing
from gtftd.sampletown.beadhooks import run_limited
from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import create_database, open_database

NOON = datetime(2026, 3, 1, 12, 0, 0, 700_000, tzinfo=UTC)


@pytest.fixture
def beads(tmp_path: Path) -> Beads:
    create_database(tmp_path, "harbor")
    return Beads(tmp_path, "harbor", "hb", clock=lambda: NOON)


def events(tmp_path: Path, table: str = "events") -> list[dict[str, object]]:
    connection = open_database(tmp_path, "harbor")
    found = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]
    connection.close()
    return found


def test_a_change_of_status_keeps_the_whole_old_issue(beads: Beads, tmp_path: Path) -> None:
    """old_value is the issue before, new_value only what changed, the time has whole seconds."""
    bead = beads.create("Ünïcode ☃", actor="mayor")
    beads.hook(bead, "harbor/polecats/nux", "mayor")
    row = events(tmp_path)[-1]
    assert (row["event_type"], row["actor"], row["created_at"]) == ("status_changed", "mayor", "2026-03-01 12:00:00")
    assert json.loads(str(row["old_value"]))["title"] == "Ünïcode ☃"
    assert json.loads(str(row["new_value"])) == {"status": "hooked", "assignee": "harbor/polecats/nux"}
    assert str(uuid.UUID(str(row["id"]))) == row["id"]


def test_a_close_carries_its_reason_as_plain_text(beads: Beads, tmp_path: Path) -> None:
    bead = beads.create("One", actor="mayor")
    beads.close(bead, "Fixed: it", "mayor")
    row = events(tmp_path)[-1]
    assert (row["event_type"], row["old_value"], row["new_value"]) == ("closed", "", "Fixed: it")
    assert beads.show(bead)["closed_at"] == "2026-03-01T12:00:00Z"


def test_a_second_close_overwrites_and_is_told(beads: Beads, tmp_path: Path) -> None:
    bead = beads.create("One", actor="mayor")
    beads.close(bead, "first", "mayor")
    beads.close(bead, "second", "harbor/refinery")
    assert [row["new_value"] for row in events(tmp_path) if row["event_type"] == "closed"] == ["first", "second"]
    assert beads.show(bead)["close_reason"] == "second"


def test_reopening_clears_the_close(beads: Beads, tmp_path: Path) -> None:
    bead = beads.create("One", actor="mayor")
    beads.close(bead, "done", "mayor")
    beads.reopen(bead, "mayor")
    assert events(tmp_path)[-1]["event_type"] == "reopened"
    assert tuple(beads.show(bead).get(key) for key in ("status", "closed_at", "close_reason")) == ("open", None, None)


def test_wisps_have_tables_of_their_own(beads: Beads, tmp_path: Path) -> None:
    wisp = beads.create("Merge: hb-1", actor="mayor", wisp=True, labels=("gt:merge-request",))
    beads.close(wisp, "merged", "harbor/refinery")
    assert wisp.startswith("hb-wisp-")
    assert events(tmp_path) == []
    assert [row["event_type"] for row in events(tmp_path, "wisp_events")] == ["created", "label_added", "closed"]


def test_a_need_is_kept_in_the_column_of_its_kind(beads: Beads, tmp_path: Path) -> None:
    first, second = beads.create("a", actor="mayor"), beads.create("b", actor="mayor")
    wisp = beads.create("w", actor="mayor", wisp=True)
    beads.depend(first, second, "mayor")
    beads.depend(first, wisp, "mayor")
    rows = events(tmp_path, "dependencies")
    assert [(second, None), (None, wisp)] == [(r["depends_on_issue_id"], r["depends_on_wisp_id"]) for r in rows]


def test_old_databases_number_their_events(tmp_path: Path) -> None:
    create_database(tmp_path, "harbor", "old")
    beads = Beads(tmp_path, "harbor", "hb", clock=lambda: NOON)
    bead = beads.create("One", actor="mayor")
    beads.depend(bead, beads.create("Two", actor="mayor"), "mayor")
    beads.comment(bead, "hm", "mayor")
    beads.claim(bead, "mayor")
    assert [row["id"] for row in events(tmp_path)] == [1, 2, 3, 4, 5]


def test_an_unknown_bead_is_missing(beads: Beads) -> None:
    with pytest.raises(Missing, match="hb-nope"):
        beads.close("hb-nope", "why", "mayor")


def test_the_hook_is_told_id_change_and_issue(tmp_path: Path) -> None:
    """`on_close <id> close`, the issue as JSON on standard input; the environment is the actor's."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hook = hooks / "on_close"
    hook.write_text(f'#!/bin/sh\n{{ echo "$1 $2 $GT_ROLE"; cat; }} > {tmp_path}/told\n')
    create_database(tmp_path, "harbor")
    beads = Beads(tmp_path, "harbor", "hb", hooks_dir=hooks, environ_of=lambda actor: {"GT_ROLE": actor})
    bead = beads.create("One", actor="mayor")
    beads.close(bead, "not yet executable", "mayor")
    assert not (tmp_path / "told").exists()
    hook.chmod(0o755)
    beads.close(bead, "why", "mayor")
    first, issue = (tmp_path / "told").read_text().splitlines()
    assert f"{bead} close mayor" == first
    assert json.loads(issue)["close_reason"] == "why"


def test_a_late_hook_is_killed_with_its_children(tmp_path: Path) -> None:
    """The whole process group goes, and nobody waits longer than the limit."""
    command = ["/bin/sh", "-c", f"sleep 300 & echo $! > {tmp_path}/child; wait"]
    assert run_limited(command, "", None, cwd=tmp_path, timeout_s=0.5)
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    for _ in range(200):  # the orphan is reaped by init, a moment later
        if not child.exists() or child.read_text().split()[2] == "Z":
            break
        time.sleep(0.02)
    assert not child.exists() or child.read_text().split()[2] == "Z"
