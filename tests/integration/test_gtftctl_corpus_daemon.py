"""gtftctl corpus against a real daemon: entries come of its orders, and a second run changes nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gtftctl import COMMAND, Gtftctl
from tests.support.town import Daemon, SampleTown, final_state, until

pytestmark = pytest.mark.timeout(600)
STRAYS = 3


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A town that nobody lives in, but for some sessions that no source told of."""
    folder = tmp_path_factory.mktemp("town")
    town = SampleTown(folder)
    daemon = Daemon(town, folder / "state", quiet_s=0.1)
    for _ in range(STRAYS):
        town.add_stray()
    try:
        daemon.start_ready()
        sessions = "SELECT count(*) FROM entries WHERE kind = 'session'"
        until(lambda: daemon.sql(sessions)[0][0] == STRAYS and daemon.is_caught_up(), "the sweep has found them")
        yield daemon
    finally:
        daemon.end()
        town.stop()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("day")
    town = SampleTown(folder)
    daemon = Daemon(town, folder / "state")
    town.install_hooks(daemon.state_dir)
    try:
        daemon.start_ready()
        town.play(2000, seed=5)
        daemon.wait_for_the_day()
        yield daemon
    finally:
        daemon.end()
        town.stop()


@pytest.fixture
def gtftctl(daemon: Daemon) -> Gtftctl:
    return Gtftctl(daemon.state_dir)


def a_session(gtftctl: Gtftctl) -> dict[str, Any]:
    found: list[dict[str, Any]] = gtftctl.json("corpus", "list", "--kind", "session", "--all")["entries"]
    return next(row for row in found if row["source"] == "claude-code")


def test_sessions_collected_again_are_as_they_were(gtftctl: Gtftctl) -> None:
    """All of them, or one: every file stays what it was, and every entry is accounted for."""
    before = final_state(gtftctl.state_dir)
    told = gtftctl.json("corpus", "collect", "--all")
    assert (0, 0, STRAYS) == (told["stored"], told["withdrawn"], told["unchanged"])
    assert told["done"] == told["total"]
    row = a_session(gtftctl)
    assert 1 == gtftctl.json("corpus", "collect", "--session", row["session_id"][:13])["done"]
    assert before == final_state(gtftctl.state_dir)
    for words in (("--session", "no-such-session"), ("--bead", "no-such-bead")):
        unknown = gtftctl("corpus", "collect", *words)
        assert (1, 1) == (unknown.returncode, len(unknown.stderr.splitlines()))


def test_documents_are_stored_once(gtftctl: Gtftctl) -> None:
    """A town has instructions and formulas; interactions it may have none, and that is no error."""
    assert gtftctl.json("corpus", "artifacts")["finished"]
    again = gtftctl.json("corpus", "artifacts")
    assert (0, 0) == (again["stored"], again["withdrawn"])
    assert again["unchanged"] > 0
    assert "interactions: " in gtftctl.well("corpus", "interactions")


def test_curated_examples_are_added(gtftctl: Gtftctl, tmp_path: Path) -> None:
    """Two files in one order; a file with a mistake is told by its line, and nothing of it is stored."""
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for number, file in enumerate(files):
        turns = [{"role": "user", "content": f"What is {number}?"}, {"role": "assistant", "content": "A number."}]
        file.write_text(json.dumps({"messages": turns}) + "\n")
    words = ("corpus", "add", *files, "--role", "polecat", "--task", "planning")
    first, again = gtftctl.json(*words), gtftctl.json(*words)
    assert [(2, 0), (0, 2)] == [(told["stored"], told["unchanged"]) for told in (first, again)]
    listed = gtftctl.json("corpus", "list", "--kind", "curated", "--task", "planning")
    assert 2 == listed["total"]
    files[1].write_text("no JSON\n")
    wrong = gtftctl("corpus", "add", files[1], "--role", "polecat")
    assert (1, "") == (wrong.returncode, wrong.stdout)
    assert "b.jsonl" in wrong.stderr


def test_a_sweep_finds_what_nobody_told_of(gtftctl: Gtftctl) -> None:
    """Here every source works: nothing."""
    assert "nothing was missed" in gtftctl.well("corpus", "sweep")


def test_an_entry_is_explained(gtftctl: Gtftctl, daemon: Daemon) -> None:
    """Who told, which lines of which file, which facts; the lines are where the turns are."""
    row = a_session(gtftctl)
    found = gtftctl.json("corpus", "explain", row["entry_id"])
    assert found["told_by"]
    lines = Path(found["transcript"]).read_text().splitlines()
    entry = gtftctl.json("corpus", "show", row["entry_id"], "--full")
    placed = [turn for turn in found["turns"] if turn["line"] is not None]
    assert placed
    for turn in placed:
        at = entry["messages"][turn["message"]]["at"]
        assert at[:19] in lines[turn["line"] - 1]
    text = gtftctl.well("corpus", "explain", row["entry_id"][:12])
    for words in (row["session_id"], "told by", "because", "learned", "redacted", "snapshots"):
        assert words in text


def test_an_audit_of_clean_entries_finds_nothing(gtftctl: Gtftctl) -> None:
    """And changes none of them."""
    before = final_state(gtftctl.state_dir)
    told = gtftctl.json("corpus", "audit", "--all")
    everything = len(before.entries) + len(before.documents)
    assert (everything, everything, 0) == (told["total"], told["done"], told["hits"])
    assert before == final_state(gtftctl.state_dir)


def test_what_was_purged_stays_away(gtftctl: Gtftctl) -> None:
    """Its file is gone, collecting again does not bring it back, and who asks is told why."""
    row = a_session(gtftctl)
    told = gtftctl.well("corpus", "purge", row["entry_id"][:12], "--reason", "a customer's name", "--yes")
    assert f"purged {row['entry_id']}; no snapshot held it\n" == told
    assert not Path(row["path"]).exists()
    gtftctl.well("corpus", "collect", "--session", row["session_id"])
    assert "a customer's name" in gtftctl.well("corpus", "explain", row["entry_id"])


def test_a_review_of_nothing(gtftctl: Gtftctl) -> None:
    """No doubts is an answer; an unknown one is exit code 1."""
    assert gtftctl.json("corpus", "review") == {"doubts": []}
    for word in ("show", "restore", "keep"):
        told = gtftctl("corpus", "review", word, "ffff")
        assert (1, "", 1) == (told.returncode, told.stdout, len(told.stderr.splitlines()))


def test_ctrl_c_leaves_the_daemon_as_it_was(gtftctl: Gtftctl, daemon: Daemon) -> None:
    """It answers at once, and the same order can be given again."""
    command = [*COMMAND, "corpus", "collect", "--all", "--state-dir", str(gtftctl.state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    assert child.returncode in {0, 130}
    assert daemon.is_ready()
    assert 0 == gtftctl.json("corpus", "collect", "--all")["stored"]


@pytest.mark.heavy
def test_a_day_in_numbers(day: Daemon) -> None:
    """Every closed bead stands in the table once, with a label, after the databases were read; a second run reads
    the same.
    """
    gtftctl = Gtftctl(day.state_dir)
    first, again = gtftctl.json("corpus", "operational"), gtftctl.json("corpus", "operational")
    assert first["stored"] + first["unchanged"] == again["unchanged"] > 0
    told = gtftctl.json("corpus", "stats", "--labels")
    counted = sum(sum(row.values()) for row in told["counts"].values())
    assert (0, told["closed"]) == (told["unlabelled"], counted)
    assert told["closed"] >= day.sql("SELECT count(DISTINCT bead) FROM closes")[0][0] > 0
    assert "reason" in gtftctl.well("corpus", "stats", "--labels").split()
    bead = gtftctl.json("corpus", "list", "--kind", "session", "--label", "merged")["entries"][0]["bead"]
    assert 0 == gtftctl.json("corpus", "collect", "--bead", bead)["stored"]
