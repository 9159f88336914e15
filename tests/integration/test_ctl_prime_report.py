"""gtftctl prime report: what each role begins with, before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.errors import NotReady
from gtftd.schemas.corpus import Message
from tests.support.entries import artifact, store_all
from tests.support.prime import PrimeTown, make_checkout, make_prime_town
from tests.support.prime_daemon import PrimeDaemon, prime_daemon


@pytest.fixture
def made(tmp_path: Path) -> PrimeTown:
    return make_prime_town(tmp_path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "gt")


@pytest.fixture
def daemon(made: PrimeTown) -> Iterator[PrimeDaemon]:
    with prime_daemon(made.state_dir) as served:
        yield served


def test_before_and_after_stand_side_by_side(made: PrimeTown, daemon: PrimeDaemon, checkout: Path) -> None:
    """Section by section; what is read later is not in the sum."""
    words = ("prime", "report", "--templates", checkout, "--town", made.root, "--trained-at", "2026-03-01", "--json")
    told = made.gtftctl(*words)
    assert "" == told.stderr
    polecat, witness = json.loads(told.stdout)
    assert ("polecat", 321) == (polecat["role"], polecat["total_after"])
    assert ["who you are", "the bead"] == [line["name"] for line in polecat["after"]]
    names = ["(top)", "Who", "mol-polecat-work, its steps", "", ""]
    assert names == [line["name"] for line in polecat["before"]]
    assert sum(line["tokens"] for line in polecat["before"]) == polecat["total_before"] > 0
    later = sum(line["tokens"] for line in witness["before"] if line["later"])
    assert sum(line["tokens"] for line in witness["before"]) - later == witness["total_before"]
    assert later > 0
    assert {("gastown", datetime(2026, 3, 1, tzinfo=UTC))} == {(one.rig, one.trained_at) for one in daemon.asked}


def test_for_people_it_is_a_table(made: PrimeTown, checkout: Path) -> None:
    """Without a daemon only the before is told, and why there is no after."""
    told = made.gtftctl("prime", "report", "--templates", checkout, "--town", made.root, "--role", "polecat")
    assert (0, "") == (told.returncode, told.stderr)
    for words in ("role template: Who", "mol-polecat-work, its steps", "Tokens are counted by", "no short prime for"):
        assert words in told.stdout
    assert "witness" not in told.stdout


def test_one_role_without_a_short_prime_says_why(made: PrimeTown, daemon: PrimeDaemon, checkout: Path) -> None:
    """It is the daemon's reason."""
    daemon.error = NotReady("no training date is known")
    told = made.gtftctl("prime", "report", "--templates", checkout, "--town", made.root)
    assert "no short prime for polecat, witness: no training date is known" in told.stdout


def test_as_a_page_it_is_markdown(made: PrimeTown, daemon: PrimeDaemon, checkout: Path) -> None:
    """A table of all, and one for each."""
    told = made.gtftctl("prime", "report", "--templates", checkout, "--town", made.root, "--markdown").stdout
    assert told.startswith("| role | before | read after it | after | less |\n")
    assert "\n### witness\n" in told
    assert "| short prime: the bead | | 200 |" in told
    assert all(line.count("|") >= 3 for line in told.splitlines() if line.startswith("|"))


def test_a_tokenizer_counts_when_one_is_given(made: PrimeTown, daemon: PrimeDaemon, checkout: Path) -> None:
    """And it is named, beside the daemon's."""
    tokenizer = Path(__file__).parents[2] / "gtftd" / "rag" / "files" / "minilm-tokenizer.json"
    told = made.gtftctl("prime", "report", "--templates", checkout, "--town", made.root, "--tokenizer", tokenizer)
    assert "counted by minilm-tokenizer, after by estimate" in told.stdout


def test_a_folder_that_is_no_checkout_and_a_role_that_is_none_are_told(made: PrimeTown, checkout: Path) -> None:
    """With what there is."""
    told = made.gtftctl("prime", "report", "--templates", made.home, "--town", made.root)
    assert (1, "") == (told.returncode, told.stdout)
    assert "holds no role templates" in told.stderr
    told = made.gtftctl("prime", "report", "--templates", checkout, "--town", made.root, "--role", "piper")
    assert "says nothing of the role piper; it has polecat, witness" in told.stderr


async def test_without_templates_it_is_what_was_caught(made: PrimeTown) -> None:
    """The newest prime of each role in the corpus; without any, what to do is told."""
    told = made.gtftctl("prime", "report", "--town", made.root)
    assert (1, "") == (told.returncode, told.stdout)
    assert "gtftctl corpus prime" in told.stderr
    assert "--templates DIR" in told.stderr
    text = "# Mayor\n## Who\nYou are the mayor.\n"
    caught = artifact("x", kind="prime", role="mayor", messages=(Message(role="system", content=text),))
    await store_all(made.state_dir, [caught])
    told = made.gtftctl("prime", "report", "--town", made.root, "--json")
    [mayor] = json.loads(told.stdout)
    assert ("mayor", ["(top)", "Who"]) == (mayor["role"], [line["name"] for line in mayor["before"]])
