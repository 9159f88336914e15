"""gtftctl corpus: what looks at the entries works on the files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtftd.schemas.corpus_views import EntriesResult, StatsResult
from gtftd.state.database import migrate
from tests.support.entries import REJECTED, artifact, opened, session, store_all
from tests.support.gtftctl import Gtftctl


@pytest.fixture
def gtftctl(tmp_path: Path) -> Gtftctl:
    return Gtftctl(tmp_path / "state")


async def fill(gtftctl: Gtftctl) -> list[Path]:
    """Two sessions, merged and rejected, and a document."""
    other = session(1, episode=2, outcome=REJECTED, role="crew", session_id="9876543210", messages=())
    return await store_all(gtftctl.state_dir, [session(0), other, artifact()])


def test_an_empty_corpus_and_none_at_all(gtftctl: Gtftctl) -> None:
    """Neither is an error that needs reading twice; looking makes no files."""
    missing = gtftctl("corpus", "list")
    assert (1, "") == (missing.returncode, missing.stdout)
    assert "holds no state of a gtftd" in missing.stderr
    assert not gtftctl.state_dir.exists()
    gtftctl.state_dir.mkdir()
    migrate(gtftctl.state_dir / "state.db")
    assert f"0 entries in {gtftctl.state_dir}/entries\n" == gtftctl.well("corpus", "list")
    nothing = f"no entry that matches in {gtftctl.state_dir}/entries\n"
    assert nothing == gtftctl.well("corpus", "list", "--bead", "gt-0")
    assert "none open" in gtftctl.well("corpus", "stats")


async def test_entries_are_listed(gtftctl: Gtftctl) -> None:
    """By who and about what; documents by where they stand."""
    await fill(gtftctl)
    head, *rows, total = (line.split() for line in gtftctl.well("corpus", "list").splitlines())
    columns = ["entry", "age", "kind", "actor", "about", "task", "label", "conf", "session", "turns", "redacted"]
    assert [*columns, "size"] == head
    assert [
        ["0abcdef-", "session", "gastown/polecat", "gt-0", "implementation", "merged", "0.95", "01234567", "1", "2"],
        ["1abcdef-", "session", "gastown/crew", "gt-1#2", "implementation", "rejected", "0.80", "98765432", "0", "2"],
        ["d0c-gast", "artifact", "all", "gastown/CLAUDE.md", "document", "collected", "1.00", "-", "0", "1"],
    ] == sorted([row[0], *row[3:-2]] for row in rows)
    assert ["3", "entries"] == total[:2]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--kind", "artifact"], ["d0c-gast"]),
        (["--source", "claude-code", "--role", "crew"], ["1abcdef-"]),
        (["--rig", "gastown"], ["0abcdef-", "1abcdef-"]),
        (["--bead", "gt-0"], ["0abcdef-"]),
        (["--task", "document"], ["d0c-gast"]),
        (["--label", "rejected"], ["1abcdef-"]),
        (["--session", "9876"], ["1abcdef-"]),
        (["--violations", "bd-sync"], ["0abcdef-"]),
        (["--violations", "force-push"], []),
        (["--all"], ["0abcdef-", "1abcdef-", "d0c-gast"]),
    ],
)
async def test_entries_are_chosen(gtftctl: Gtftctl, words: list[str], wanted: list[str]) -> None:
    """Every option narrows what is listed; the total counts what matches."""
    await fill(gtftctl)
    found = EntriesResult.model_validate(gtftctl.json("corpus", "list", *words))
    assert wanted == sorted(row.entry_id[:8] for row in found.entries)
    assert len(wanted) == found.total


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["list", "--role", "emperor"], "'emperor' is none of mayor, deacon"),
        (["list", "--rig", "atlantis"], "'atlantis' is none of gastown"),
        (["list", "--violations", "x"], "'x' is none of "),
        (["snapshot", "--role", "emperor"], "'emperor' is none of mayor, deacon"),
        (["snapshot", "--rig", "atlantis"], "'atlantis' is none of gastown"),
        (["prime", "--role", "all"], "'all' is none of mayor, deacon"),
    ],
)
async def test_names_that_nothing_has_are_told(gtftctl: Gtftctl, words: list[str], wanted: str) -> None:
    """Wrong usage, with what there is: a typo must not look like an answer."""
    await fill(gtftctl)
    told = gtftctl("corpus", *words)
    assert (2, "") == (told.returncode, told.stdout)
    assert wanted in " ".join(told.stderr.replace("\u2502", " ").split())


async def test_examples_are_listed_by_what_stands_in_them(gtftctl: Gtftctl) -> None:
    """Not by the sum that their origin is made of; and no line ends in blanks."""
    example = artifact(entry_id="e" * 12, kind="curated", origin=f"curated:{'b1' * 16}", title="", source="operator")
    await store_all(gtftctl.state_dir, [example, session(0)])
    for words in (["list"], ["stats"], ["stats", "--by", "kind"], ["show", "eeee"]):
        text = gtftctl.well("corpus", *words)
        assert ("b1b1b1" in text) == (words[0] == "show"), text
        assert [] == [line for line in text.splitlines() if line != line.rstrip()]
    assert "# Rules" in gtftctl.well("corpus", "list", "--kind", "curated")
    assert "e" * 12 in gtftctl.well("corpus", "show", "eeee")


async def test_a_list_can_be_cut_short(gtftctl: Gtftctl) -> None:
    """And says that there is more."""
    await fill(gtftctl)
    assert "the newest 1 of 3 entries" in gtftctl.well("corpus", "list", "-n", "1")


async def test_one_entry_is_shown(gtftctl: Gtftctl) -> None:
    """As it stands on disk with --json; an unknown one is exit code 1."""
    first, *_ = await fill(gtftctl)
    assert gtftctl.well("corpus", "show", "0abc").split()[0] == "gt-0"
    assert first.read_text() == gtftctl.well("corpus", "show", "0abc", "--json")
    unknown = gtftctl("corpus", "show", "9999")
    assert (1, "") == (unknown.returncode, unknown.stdout)
    assert "see `gtftctl corpus list`" in unknown.stderr
    assert 2 == gtftctl("corpus", "show", "0a").returncode


async def test_texts_that_are_stored_once_are_put_back(gtftctl: Gtftctl) -> None:
    """In the page, and in JSON when all is asked for."""
    prime = "# Prime\n" + "You are a polecat. " * 100
    first = session(0)
    told = first.messages[0].model_copy(update={"content": prime, "kind": "meta"})
    await store_all(gtftctl.state_dir, [first.model_copy(update={"messages": (told, *first.messages[1:])})])
    assert gtftctl.json("corpus", "show", "0abc")["messages"][0]["refs"]
    assert prime == gtftctl.json("corpus", "show", "0abc", "--full")["messages"][0]["content"]
    assert "You are a polecat." in gtftctl.well("corpus", "show", "0abc")


async def test_the_corpus_in_numbers(gtftctl: Gtftctl) -> None:
    """Rows are added up, and what only the entries know is counted in them."""
    await fill(gtftctl)
    found = StatsResult.model_validate(gtftctl.json("corpus", "stats"))
    assert (3, 1, 5) == (found.total.entries, found.total.trainable, found.total.messages)
    assert {"session": 2, "artifact": 1} == {name: sums.entries for name, sums in found.by["kind"].items()}
    assert {"gastown": 2, "-": 1} == {name: sums.entries for name, sums in found.by["rig"].items()}
    assert {"HOME": 4, "USER": 1} == found.redactions
    assert ({"bd-sync": 1}, {"stale": 1}, {"broke_tests": 1}) == (found.violations, found.masked, found.failures)
    text = gtftctl.well("corpus", "stats")
    for words in ("1 to train on, of 5 messages", "merged 1", "HOME 4, USER 1", "bd-sync 1", "broke_tests 1"):
        assert words in text


async def test_numbers_by_what_one_likes(gtftctl: Gtftctl) -> None:
    """One row for each value, or for each pair."""
    await fill(gtftctl)
    rows = [line.split() for line in gtftctl.well("corpus", "stats", "--by", "role", "--by", "label").splitlines()]
    assert ["role", "label", "entries", "trainable", "messages", "violations", "redactions", "size"] == rows[0]
    assert ["polecat", "merged", "1", "1", "4", "1", "2"] in [row[:7] for row in rows]
    assert 2 == gtftctl("corpus", "stats", "--by", "weather").returncode


async def test_a_purged_entry_says_so(gtftctl: Gtftctl) -> None:
    """Who, when and why, in place of what it was."""
    async with opened(gtftctl.state_dir) as (database, _):
        row = ("77abcdef", "a customer's name", "alice", 1_760_000_000.0)
        await database.write(lambda connection: connection.execute("INSERT INTO purges VALUES (?, ?, ?, ?)", row))
    for word in ("explain", "show"):
        told = "77abcdef was purged by alice on 2025-10-09 08:53 UTC: a customer's name\n"
        assert told == gtftctl.well("corpus", word, "77ab")
        assert "a customer's name" == gtftctl.json("corpus", word, "77ab")["purged"]["reason"]
    again = gtftctl("corpus", "purge", "77ab", "--reason", "once more", "--yes")
    assert (1, True) == (again.returncode, "was purged by alice" in again.stderr)
