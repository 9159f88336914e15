"""gtftctl corpus: what the daemon is told to do, and how it is followed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd.schemas.corpus_orders import (
    AddParams,
    ArtifactsParams,
    AuditParams,
    AuditProgress,
    CollectParams,
    CollectProgress,
    OperationalParams,
    PrimeParams,
    PurgeParams,
    VerdictParams,
)
from tests.support.corpus_verbs import Told, corpus_verbs
from tests.support.entries import opened, session, store_all
from tests.support.gtftctl import COMMAND, Gtftctl

STEPS = [
    CollectProgress(phase="sessions", done=1, total=30, stored=1),
    CollectProgress(phase="sessions", done=2, total=30, stored=1, unchanged=1),
    CollectProgress(phase="sessions", done=30, total=30, stored=12, unchanged=15, skipped=3, finished=True),
]


@pytest.fixture
def gtftctl(tmp_path: Path) -> Gtftctl:
    return Gtftctl(tmp_path / "state")


@pytest.fixture
def told(gtftctl: Gtftctl) -> Iterator[Told]:
    with corpus_verbs(gtftctl.state_dir / "run" / "control.sock") as verbs:
        verbs.steps = list(STEPS)
        yield verbs


def test_an_order_is_followed_in_lines(gtftctl: Gtftctl, told: Told) -> None:
    """In a pipe: not every step, and the sum at the end; as JSON the last step alone."""
    lines = gtftctl.well("corpus", "collect", "--all").splitlines()
    assert ["sessions: 1 of 30", "sessions: 30 done: 12 stored, 15 unchanged, 3 skipped, 0 withdrawn"] == lines
    assert STEPS[-1].model_dump(mode="json") == gtftctl.json("corpus", "collect", "--all")


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (["collect", "--session", "0123"], CollectParams(session_id="0123")),
        (["collect", "--bead", "gt-1"], CollectParams(bead="gt-1")),
        (["artifacts", "--from", "/usr"], ArtifactsParams(folder="/usr")),
        (["operational", "--database", "hq", "--database", "x"], OperationalParams(databases=("hq", "x"))),
        (["operational", "--from", "/usr"], OperationalParams(export="/usr")),
        (["prime", "--role", "mayor"], PrimeParams(roles=("mayor",))),
    ],
)
def test_what_was_typed_is_what_is_ordered(gtftctl: Gtftctl, told: Told, words: list[str], params: object) -> None:
    gtftctl.well("corpus", *words)
    assert params == told.calls[-1][1]


def test_files_are_named_so_that_the_daemon_finds_them(gtftctl: Gtftctl, told: Told) -> None:
    """It works elsewhere; what is not there, or no task, is told before anything is asked."""
    file = gtftctl.state_dir.parent / "good.jsonl"
    file.write_text("{}\n")
    gtftctl.well("corpus", "add", "good.jsonl", "--role", "polecat", "--task", "code-review")
    assert ("corpus.add", AddParams(paths=(str(file),), role="polecat", task="code-review")) == told.calls[-1]
    assert 2 == gtftctl("corpus", "add", "none.jsonl", "--role", "polecat").returncode
    assert 2 == gtftctl("corpus", "add", "good.jsonl", "--role", "polecat", "--task", "cooking").returncode
    assert 2 == gtftctl("corpus", "collect").returncode
    assert 1 == len(told.calls)


def test_a_sweep_tells_of_facts(gtftctl: Gtftctl, told: Told) -> None:
    """Entries follow from these by themselves."""
    told.steps = [CollectProgress(phase="sweep", done=0, finished=True)]
    assert "nothing was missed\n" == gtftctl.well("corpus", "sweep").split(": 0\n")[-1]
    told.steps = [CollectProgress(phase="sweep", done=2, stored=2, finished=True)]
    assert "2 new facts; entries follow" in gtftctl.well("corpus", "sweep")


def test_an_order_that_is_refused_prints_nothing_before(gtftctl: Gtftctl, told: Told) -> None:
    """A step that has done nothing yet is no news."""
    told.steps = [CollectProgress(phase="operational", note="reading"), *STEPS[2:]]
    assert "sessions: 30 of 30" == gtftctl.well("corpus", "operational").splitlines()[0]
    for word in ("operational", "artifacts"):
        refused = gtftctl("corpus", word, "--from", "nope")
        assert (2, "", True) == (refused.returncode, refused.stdout, "does not exist" in refused.stderr)


def test_added_examples_are_named(gtftctl: Gtftctl, told: Told) -> None:
    """So that one can be shown, or purged; the first of many."""
    file = gtftctl.state_dir.parent / "good.jsonl"
    file.write_text("{}\n")
    ids = tuple(f"{number:08}-abc" for number in range(11))
    told.steps = [CollectProgress(phase="add", done=1, total=1, stored=1, entries=ids[:1], finished=True)]
    words = ("corpus", "add", file, "--role", "polecat")
    assert "\nentry 00000000\n" in gtftctl.well(*words)
    assert ["00000000-abc"] == gtftctl.json(*words)["entries"]
    told.steps = [CollectProgress(phase="add", done=11, total=11, stored=11, entries=ids, finished=True)]
    assert "00000009, ...; `gtftctl corpus list --kind curated` shows them" in gtftctl.well(*words)


def test_without_a_daemon_it_says_how_to_start_one(gtftctl: Gtftctl) -> None:
    """What writes needs it: exit code 3, one line."""
    ended = gtftctl("corpus", "collect", "--all")
    assert (3, "", 1) == (ended.returncode, ended.stdout, len(ended.stderr.splitlines()))


def test_ctrl_c_ends_the_order_on_both_sides(gtftctl: Gtftctl, told: Told) -> None:
    """Exit code 130, one line, and the daemon goes no further."""
    told.stays_open = True
    told.steps = STEPS[:1]
    command = [*COMMAND, "corpus", "collect", "--all", "--state-dir", str(gtftctl.state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert "sessions: 1 of 30\n" == child.stdout.readline()
        child.send_signal(signal.SIGINT)
        _, complaint = child.communicate(timeout=30)
    assert (130, 1) == (child.returncode, len(complaint.splitlines()))
    assert "what was done stays" in complaint
    assert told.hung_up.wait(20)


def test_on_a_terminal_there_is_a_bar(gtftctl: Gtftctl, told: Told) -> None:
    """Which goes away in the end; the sum stays."""
    leader, follower = pty.openpty()
    command = [*COMMAND, "corpus", "collect", "--all", "--state-dir", str(gtftctl.state_dir)]
    environ = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    ended = subprocess.run(command, stdout=follower, stdin=follower, stderr=follower, timeout=60, env=environ)
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert 0 == ended.returncode
    assert "30/30" in shown
    assert "12 stored, 15 unchanged, 3 skipped" in shown


async def test_an_audit_that_finds_something_is_exit_code_one(gtftctl: Gtftctl, told: Told) -> None:
    """So that a timer can tell somebody. One that has nothing to do says so."""
    await store_all(gtftctl.state_dir, [session(0)])
    told.steps = [AuditProgress(done=9, total=9, finished=True)]
    assert "audited 9 entries: nothing found" in gtftctl.well("corpus", "audit")
    assert ("corpus.audit", AuditParams()) == told.calls[-1]
    told.steps = [AuditProgress(finished=True)]
    assert "nothing to do: today's rules have seen all 1 entry\n" == gtftctl.well("corpus", "audit")
    told.steps = [AuditProgress(done=9, total=9, hits=2, tainted_snapshots=("5a" * 32,), finished=True)]
    ended = gtftctl("corpus", "audit", "--all")
    assert 1 == ended.returncode
    assert "2 held what today's rules find" in ended.stdout
    assert "1 snapshot is tainted: 5a5a5a5a5a5a" in ended.stdout


async def test_doubts_are_listed_without_their_values(gtftctl: Gtftctl) -> None:
    """Out of the state's file: no daemon needs to run."""
    row = ("d1" * 16, "0abcdef-0000", "<GENERIC_SECRET:a1b2c3>", "GENERIC_SECRET", "entropy", 0, 1_760_000_000.0)
    async with opened(gtftctl.state_dir) as (database, _):
        sql = "INSERT INTO doubts VALUES (?, ?, ?, ?, ?, ?, ?)"
        await database.write(lambda connection: connection.execute(sql, row))
    for words in (["review"], ["review", "list"], ["review", "--json"], ["review", "list", "--json"]):
        text = gtftctl.well("corpus", *words)
        assert "<GENERIC_SECRET:a1b2c3>" in text
        assert "hunter2" not in text
    (doubt,) = gtftctl.json("corpus", "review")["doubts"]
    assert (row[0], 1) == (doubt["digest"], doubt["entries"])


def test_a_value_is_shown_to_the_one_who_asks(gtftctl: Gtftctl, told: Told) -> None:
    """On a terminal; in a pipe or as JSON, which end up in files, only when asked twice."""
    show = ("corpus", "review", "show", "d1d1")
    assert "hunter2" not in gtftctl.well(*show)
    assert "hunter2" not in gtftctl.well(*show, "--json")
    assert "hunter2" in gtftctl.well(*show, "--reveal")
    assert "hunter2" == gtftctl.json(*show, "--reveal")["value"]
    unknown = gtftctl("corpus", "review", "show", "ffff")
    assert (1, "") == (unknown.returncode, unknown.stdout)
    assert 2 == gtftctl("corpus", "review", "show", "d1").returncode


@pytest.mark.parametrize("verdict", ["restore", "keep"])
def test_a_verdict_names_who_gave_it(gtftctl: Gtftctl, told: Told, verdict: str) -> None:
    text = gtftctl.well("corpus", "review", verdict, "d1d1")
    assert "<GENERIC_SECRET:a1b2c3> passes from now on\n" == text
    params = told.calls[-1][1]
    assert isinstance(params, VerdictParams)
    assert ("d1d1", True) == (params.digest, bool(params.by))


async def test_a_purge_wants_a_reason_and_a_yes(gtftctl: Gtftctl, told: Told) -> None:
    """Where nobody can be asked, --yes; a beginning of an id is made whole before anything goes."""
    await store_all(gtftctl.state_dir, [session(0)])
    assert 2 == gtftctl("corpus", "purge", "0abc").returncode
    refused = gtftctl("corpus", "purge", "0abc", "--reason", "a customer's name")
    assert (1, []) == (refused.returncode, told.calls)
    assert "say --yes" in refused.stderr
    text = gtftctl.well("corpus", "purge", "0abc", "--reason", "a customer's name", "--yes")
    assert "purged 0abcdef-0000; 1 snapshot is tainted: 5a5a5a5a5a5a\n" == text
    params = told.calls[-1][1]
    assert isinstance(params, PurgeParams)
    assert ("0abcdef-0000", "a customer's name") == (params.entry_id, params.reason)
