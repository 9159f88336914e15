"""gtftctl corpus snapshot and what reads one: a snapshot is built from the files alone, no daemon runs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gtftd.schemas.corpus_views import ExplainResult
from tests.support.entries import REJECTED, artifact, session, store_all
from tests.support.gtftctl import Gtftctl

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Built:
    """Two snapshots of one rig; before the second one the work on a bead was found to be rejected."""

    gtftctl: Gtftctl
    config: Path
    said: str
    """What the first build printed."""
    before: str
    after: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("snapshots")
    gtftctl, config = Gtftctl(folder / "state"), folder / "gtftd.toml"
    config.write_text("")
    asyncio.run(fill(gtftctl))
    words = ("corpus", "snapshot", "--config", config, "--rig", "gastown")
    first = gtftctl(*words)
    assert (1, "") == (first.returncode, first.stderr)
    asyncio.run(reject(gtftctl))
    second = gtftctl(*words, "--json")
    assert (1, "") == (second.returncode, second.stderr)
    before = first.stdout.split("snapshot ")[1].split()[0]
    return Built(gtftctl, config, first.stdout, before, json.loads(second.stdout)["id"])


async def fill(gtftctl: Gtftctl) -> None:
    """Merged work on twenty beads, and a document."""
    entries = []
    for number in range(20):
        said = f"I looked at part {number} of the harbour and mended what was broken there: lamp {number * 7}."
        messages = tuple(
            message.model_copy(update={"content": said}) if message.trainable else message
            for message in session(number).messages
        )
        entries.append(session(number, entry_id=f"{number:04}abcdef", session_id=f"s-{number:04}", messages=messages))
    await store_all(gtftctl.state_dir, [*entries, artifact(rig="gastown")])


async def reject(gtftctl: Gtftctl) -> None:
    await store_all(gtftctl.state_dir, [session(3, entry_id="0003abcdef", session_id="s-0003", outcome=REJECTED)])


def test_a_snapshot_that_is_not_ready_says_why(built: Built) -> None:
    """Every reason, and what is in it all the same."""
    for words in ("ready        no:", "supervised tokens", "for          gastown", "labels       merged"):
        assert words in built.said


def test_a_corpus_that_did_not_change_gives_the_same_snapshot(built: Built) -> None:
    again = built.gtftctl("corpus", "snapshot", "--config", built.config, "--rig", "gastown", "--json")
    assert built.after == json.loads(again.stdout)["id"]


def test_rigs_own_their_data(built: Built) -> None:
    """Without a rig there is nothing to take from, and it says so."""
    told = built.gtftctl("corpus", "snapshot", "--config", built.config)
    assert 1 == told.returncode
    assert "name one with --rig" in told.stdout


def test_snapshots_are_listed(built: Built) -> None:
    rows = {row["id"]: row for row in built.gtftctl.json("corpus", "snapshots")}
    assert {built.before, built.after} <= rows.keys()
    text = built.gtftctl.well("corpus", "snapshots")
    for snapshot in (built.before, built.after):
        (row,) = [line for line in text.splitlines() if line.startswith(snapshot[:12])]
        assert "not ready: supervised tokens, role entries" in row
    full = built.gtftctl.well("corpus", "snapshots", "--why")
    for snapshot in (built.before, built.after):
        assert f"{snapshot[:12]} is not ready:\n  supervised tokens: " in full
    assert "raise `snapshots.source_cap`" in full


def test_sums_are_computed_again(built: Built) -> None:
    """What changed on the disk is told, and is exit code 1."""
    assert "is whole" in built.gtftctl.well("corpus", "verify", built.before[:8])
    unknown = built.gtftctl("corpus", "verify", "ffff")
    assert (1, "", 1) == (unknown.returncode, unknown.stdout, len(unknown.stderr.splitlines()))


def test_rows_go_to_a_file_or_a_pipe(built: Built) -> None:
    """The same rows; nothing is left beside the file."""
    words = ("corpus", "export", built.before[:8], "--split", "all")
    piped = built.gtftctl.well(*words)
    file = built.config.parent / "rows.jsonl"
    count = len([json.loads(line) for line in piped.splitlines()])
    assert f"{count} rows in {file}\n" == built.gtftctl.well(*words, "--out", file)
    assert piped == file.read_text()
    assert [file] == list(file.parent.glob("*rows*"))


def test_rows_that_cannot_be_written_are_told(built: Built) -> None:
    """In one line, and nothing is left behind."""
    for place in (built.config.parent / "no" / "rows.jsonl", built.config.parent):
        told = built.gtftctl("corpus", "export", built.before, "--out", place)
        assert (1, "") == (told.returncode, told.stdout)
        assert told.stderr.startswith(f"error: cannot write {place}: ")
    assert [] == list(built.config.parent.glob(".*.tmp"))


@pytest.mark.parametrize("words", [("--format", "parquet"), ("--split", "rest")])
def test_unknown_forms_are_told(built: Built, words: tuple[str, str]) -> None:
    assert 2 == built.gtftctl("corpus", "export", built.before, *words).returncode


def test_two_snapshots_are_compared(built: Built) -> None:
    """What came, went and changed."""
    found = built.gtftctl.json("corpus", "diff", built.before[:10], built.after[:10])
    assert (built.before, built.after) == (found["a"], found["b"])
    touched = [change["entry_id"] for name in ("added", "removed", "changed") for change in found[name]]
    assert "0003abcdef" in touched
    text = built.gtftctl.well("corpus", "diff", built.before[:10], built.after[:10])
    assert "0003abcd" in text
    assert max(map(len, text.splitlines())) < 120


def test_an_entry_is_explained(built: Built) -> None:
    """Where it came from, why its label, what is masked and stale, and what each snapshot does with it."""
    text = built.gtftctl.well("corpus", "explain", "0002abc")
    for words in (
        "gt-2  (gastown/polecat)",
        "from        session:0123456789 (claude-code)",
        "the transcript is gone",
        "label       merged, 0.95 sure",
        "because     merged: Merged in gt-mr-1, 2026-11-21 22:27:09 UTC",
        "learned     1 turn of 4 messages",
        "not         message 2: stale, broke bd-sync",
        "stale       message 2 runs bd sync, gone",
        "in as sft",
    ):
        assert words in text
    document = ExplainResult.model_validate(built.gtftctl.json("corpus", "explain", "d0c-"))
    assert {(False, "document")} == {(told.is_in, told.reason) for told in document.snapshots[-2:]}
