"""The word index: names whole and in parts, prose by its stems, and nobody sees what is not his."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.rag.lexical import Lexical
from gtftd.rag.words import names_of
from gtftd.schemas.rag import Collection


@dataclass(frozen=True)
class Words:
    id: str
    text: str
    heading: str = ""
    title: str = ""
    collection: Collection = "docs"
    rig: str | None = None
    bead: str | None = None


def index(*chunks: Words) -> Lexical:
    made = Lexical()
    made.put(chunks)
    made.commit()
    return made


def found(lexical: Lexical, query: str, **more: object) -> list[str]:
    return [chunk for chunk, _ in lexical.search(query, everything=True, **more)]  # type: ignore[arg-type]


TOWN = (
    Words("done", "Finish by gt done --cleanup-status clean, never by hand."),
    Words("bead", "The polecat crashed.", bead="gt-abc12", title="Crash", collection="beads", rig="gastown"),
    Words("work", "Steps of a worker.", title="mol-polecat-work", collection="formulas"),
    Words("file", "Read docs/design/dolt-storage.md before you use read_formula or GT_AGENT."),
    Words("prose", "Agents are nudging the witnesses when merges were failing."),
    Words("other", "Nothing of interest", rig="wyvern"),
)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("gt-abc12", "bead"),
        ("what about GT-ABC12?", "bead"),
        ("--cleanup-status", "done"),
        ("cleanup-status", "done"),
        ("status of a cleanup", "done"),
        ("mol-polecat-work", "work"),
        ("dolt-storage.md", "file"),
        ("docs/design/dolt-storage.md", "file"),
        ("dolt storage", "file"),
        ("read_formula", "file"),
        ("gt_agent", "file"),
        ("failed merge, nudge a witness", "prose"),
    ],
)
def test_names_and_prose_are_found(query: str, first: str) -> None:
    """Identifiers whole and by their parts, in any letters; words in any of their forms."""
    assert first == found(index(*TOWN), query)[0]


def test_a_whole_name_counts_more_than_its_parts() -> None:
    """`gt-abc12` is one name: a text with `gt` and `abc12` apart comes after it."""
    lexical = index(Words("apart", "gt abc12 gt abc12 abc12"), Words("whole", "see gt-abc12 and more words here"))
    assert "whole" == found(lexical, "gt-abc12")[0]


def test_rigs_and_collections_are_filtered_in_the_query() -> None:
    """Nobody's results hold another rig's chunks, whatever the limit; no rig: the town's alone."""
    chunks = [Words(f"w{n}", "secret plan", rig="wyvern") for n in range(30)]
    lexical = index(*chunks, Words("mine", "a plan", rig="gastown"), Words("town", "some plan", collection="configs"))
    assert {"mine", "town"} == {chunk for chunk, _ in lexical.search("secret plan", rig="gastown", limit=5)}
    assert ["town"] == [chunk for chunk, _ in lexical.search("secret plan", limit=5)]
    assert 32 == len(lexical.search("secret plan", everything=True))
    assert ["town"] == [chunk for chunk, _ in lexical.search("plan", everything=True, collections=("configs",))]


@pytest.mark.parametrize("rig", ["town", "rig:gastown", "", " ", "a b", "\ud800", "*"])
def test_no_name_of_a_rig_is_the_towns_or_anothers(rig: str) -> None:
    """A rig of a strange name sees the town and itself."""
    lexical = index(Words("strange", "plan", rig=rig or None), Words("g", "plan", rig="gastown"))
    assert "g" not in {chunk for chunk, _ in lexical.search("plan", rig=rig or None)}
    if rig:
        assert [] == lexical.search("plan")


def test_changes_are_seen_after_the_commit() -> None:
    """A put under a known id replaces; what was removed is gone, unknown ids are no error; clear empties."""
    lexical = index(Words("a", "old words"), Words("b", "more"))
    lexical.put([Words("a", "new words")])
    lexical.remove(["b", "unknown"])
    lexical.commit()
    assert [] == found(lexical, "old")
    assert ["a"] == found(lexical, "new")
    assert [] == found(lexical, "more")
    assert 1 == len(lexical)
    lexical.clear()
    assert [] == found(lexical, "words")
    assert 0 == len(lexical)


def test_what_was_removed_is_not_found_even_before_the_commit() -> None:
    """A removal holds at once: the id is forgotten."""
    lexical = index(Words("a", "words"))
    lexical.remove(["a"])
    assert [] == found(lexical, "words")


LEXICAL = index(*TOWN)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet='"():*?~^[]{}\\+-&|!/ aOR', max_size=60))
def test_any_text_is_a_query(query: str) -> None:
    """No syntax, no error; scores fall."""
    scored = LEXICAL.search(query, rig="gastown")
    assert [score for _, score in scored] == sorted((score for _, score in scored), reverse=True)
    assert "other" not in {chunk for chunk, _ in scored}


@pytest.mark.parametrize(
    "query", ["", " ", "the of and", "\0", "\ud800", "a" * 8192, "a-" * 4000, "-" * 8192, "gt-x " * 1600]
)
def test_hostile_queries_find_nothing_or_something(query: str) -> None:
    assert isinstance(found(LEXICAL, query, limit=3), list)


def test_hostile_texts_are_indexed() -> None:
    """One word as long as a document, halves of characters, NUL."""
    lexical = index(Words("long", "x" * 200_000), Words("half", "\ud800\0 findme"), Words("dashes", "-" * 200_000))
    assert ["half"] == found(lexical, "findme")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gt-abc12.", ["gt-abc12"]),
        ("use --cleanup-status=clean", ["--cleanup-status", "cleanup-status"]),
        ("rm -f --force", ["--force", "force"]),
        ("gastown/polecats/road-warrior", ["gastown/polecats/road-warrior", "road-warrior"]),
        ("~/gt/.beads/x.toml", ["gt/.beads/x.toml", ".beads", "x.toml"]),
        ("readFormula(GT_DOLT_PORT)", ["readformula", "gt_dolt_port"]),
        ("plain words, and 12 numbers", []),
    ],
)
def test_names_of_a_text(text: str, names: list[str]) -> None:
    assert names == list(names_of(text))
