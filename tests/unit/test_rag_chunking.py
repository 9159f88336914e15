"""Documents as chunks: complete, small enough, the same every time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.rag.chunking import Chunk, chunks_of
from gtftd.rag.passages import BUDGET, SMALL, by_headings, cost, pack
from gtftd.schemas.rag import MAX_TEXT, Collection, IndexDocument

AT = datetime(2026, 1, 1, tzinfo=UTC)
FORMULA = '''
# Written by the deacon.
formula = "mol-sweep"
type = "workflow"
description = "Sweeps the yard."

[vars.yard]
description = "Which yard"
required = true

[[steps]]
id = "look"
title = "Look around"
description = "Count the leaves."

[[steps]]
id = "sweep"
title = "Sweep"
needs = ["look"]
description = """
Use the broom.

## When it rains
Wait.
"""
'''
LIFE = """# gt-abc12: Crash on start

type: bug
status: open
created: 2026-01-01T00:00:00Z

## Description

The daemon dies.

## Steps

1. start it

## Notes

Seen twice.

## Dependencies (a -> b: a hangs on b)

- blocks: gt-abc12 -> gt-other

## History

- 2026-01-01 mayor: open -> hooked

## Comment by nux, 2026-01-02T00:00:00Z

It is the lock.
"""


def made(text: str, collection: Collection = "docs", **more: object) -> list[Chunk]:
    given = {"id": "file:docs/a.md", "title": "docs/a.md", "collection": collection, "updated_at": AT, "text": text}
    return chunks_of(IndexDocument.model_validate(given | more))


def words_of(text: str) -> list[str]:
    return text.split()


def test_markdown_is_cut_at_its_headings() -> None:
    """A chunk stands under the headings above it, joined by ` > `; what precedes the first stands under none."""
    found = made("before\n\n# One\n\nfirst\n\n## Two ##\n\nsecond\n\n# Three\n\nthird", "configs")
    assert [("", "before"), ("One", "first"), ("One > Two", "second"), ("Three", "third")] == [
        (chunk.heading, chunk.text) for chunk in found
    ]
    assert "a: One > Two\nsecond" == found[2].embed_text
    assert [0, 1, 2, 3] == [chunk.ordinal for chunk in found]


def test_small_sections_of_a_document_join() -> None:
    """Neighbours under one heading, their own headings in the text; not those under different ones, nor long ones."""
    long = "word " * (SMALL + 20)
    found = made(f"# One\n\n## A\n\nfirst\n\n## B\n\nsecond\n\n# Two\n\nthird\n\n## C\n\n{long}\n\n## D\n\n{long}")
    assert [
        ("One", "**A**\n\nfirst\n\n**B**\n\nsecond"),
        ("Two", f"third\n\n**C**\n\n{long.strip()}"),
        ("Two > D", long.strip()),
    ] == [(chunk.heading, chunk.text) for chunk in found]


def test_a_comment_in_code_is_no_heading() -> None:
    """`# x` inside of a fence is a line of code, also when the other kind of fence stands inside."""
    found = made("# One\n\n```sh\n# not a heading\n~~~\n# neither\n```\n\n# Two\nx", "configs")
    assert ["One", "Two"] == [chunk.heading for chunk in found]


def test_formulas_give_a_chunk_for_each_step() -> None:
    """The description with the name, the variables, and each step with its title and needs."""
    found = made(FORMULA, "formulas", id="file:.beads/formulas/mol-sweep.formula.toml", title="mol-sweep")
    headings = [chunk.heading for chunk in found]
    assert ["", "", "Variables", "look: Look around", "sweep: Sweep"] == headings
    assert "Written by the deacon." == found[0].text
    assert "mol-sweep" in found[1].text
    assert "Sweeps the yard." in found[1].text
    assert "- yard: Which yard (required)" == found[2].text
    assert (
        'id = "sweep"\ntitle = "Sweep"\nneeds = ["look"]\n\nUse the broom.\n\n**When it rains**\n\nWait.'
        == found[4].text
    )


def test_what_is_no_formula_is_found_by_its_words() -> None:
    """A file that cannot be parsed loses nothing."""
    found = made('formula = "x"\n[[steps]\nid = broken', "formulas", id="file:x.formula.toml")
    assert "broken" in found[0].text


def test_a_bead_opens_with_what_it_asks_for() -> None:
    """Title, type, status and description first, headings inside of the description kept; links and history last."""
    found = made(LIFE, "beads", id="bead:hq/gt-abc12", title="Crash on start")
    assert ["", "Notes", "Comment by nux, 2026-01-02T00:00:00Z", "History"] == [chunk.heading for chunk in found]
    for said in ("gt-abc12", "type: bug", "status: open", "The daemon dies.", "## Steps", "1. start it"):
        assert said in found[0].text
    assert "Crash on start\nThe daemon dies.\n\n## Steps\n\n1. start it" == found[0].embed_text
    assert "gt-other" in found[-1].text
    assert "open -> hooked" in found[-1].text


def test_sessions_are_packed_as_they_were_said() -> None:
    """Headings inside of what an agent said are its words."""
    found = made("agent: hello\n\nran: ls\n\n# not mine\n\nuser: bye", "sessions", id="session:1")
    assert ["agent: hello\n\nran: ls\n\n# not mine\n\nuser: bye"] == [chunk.text for chunk in found]


def test_ids_say_what_and_whose() -> None:
    """The same text in two rigs, two documents or twice in one is several chunks; elsewhere in a document the same."""
    text = "# A\n\nsame\n\n# A\n\nsame\n"
    first, second = made(text, "configs")
    assert first.id != second.id
    assert {first.id, second.id} == {chunk.id for chunk in made(text, "configs")}
    assert first.id != made(text, "configs", rig="gastown")[0].id
    assert first.id != made(text, "configs", id="file:docs/b.md")[0].id
    assert first.id != made(text, "docs")[0].id
    assert first.id == made("# New\n\nopening\n\n" + text, "configs")[1].id
    assert first.id == made(text, "configs", title="another title")[0].id


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("aB1 \n#`~-.*_|/é漢\t"), max_size=3000))
def test_no_word_is_lost(text: str) -> None:
    """Every character but blanks, heading marks and headings' own words stands in some chunk, in order."""
    kept = "".join("".join(f"{p.heading.rpartition(' > ')[2]}{p.text}".split()) for p in by_headings(text, join=False))
    said = "".join(text.split())
    assert set(kept) <= set(said) | {">"}
    packed = "".join("".join(piece.split()) for piece in pack(text.splitlines()))
    assert said == packed


@settings(deadline=None)
@given(st.lists(st.integers(1, 600), max_size=20), st.sampled_from(["word ", "x", "7", "é", "gt-abc12 "]))
def test_chunks_fit_the_model(lengths: list[int], word: str) -> None:
    """Whatever the lengths of lines: no passage is estimated above the budget."""
    for piece in pack([word * length for length in lengths]):
        assert cost(piece) <= BUDGET


@pytest.mark.parametrize("collection", ["beads", "configs", "sessions", "formulas", "docs"])
@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "x ",
        "#",
        "# a\n",
        "```\n",
        "\n",
        "[[",
        "a.",
        "-",
        "## Notes\n",
        "[[steps]]\nid='a'\n",
        "\0",
        "漢",
        '"""',
        "!",
    ],
)
def test_hostile_texts_are_cut_too(collection: Collection, unit: str) -> None:
    """The longest text there may be, of one repeated piece: nothing raises, and chunks stay small."""
    text = unit * (MAX_TEXT // len(unit))
    found = made(text, collection, id="file:x.formula.toml")
    assert all(len(chunk.embed_text) < 4000 for chunk in found)
