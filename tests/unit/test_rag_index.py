"""The index in this process: what is put is found, by whom it may be, and survives what breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd.errors import Conflict
from gtftd.rag.index import Index
from gtftd.schemas.rag import BeadCard, Collection, IndexDocument, PutResult, SearchQuery
from tests.support.rag_embedder import HashedWords

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Opener = Callable[..., Index]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Opens the index of this test; what is open in the end is closed."""
    indexes: list[Index] = []

    def open_index(embedder: HashedWords | None = None) -> Index:
        indexes.append(Index.open(tmp_path / "rag", lambda: embedder or HashedWords()))
        return indexes[-1]

    yield open_index
    for index in indexes:
        index.close()


def doc(
    id_: str,
    text: str,
    *,
    rig: str | None = None,
    collection: Collection = "docs",
    at: datetime = NOON,
    roles: tuple[str, ...] = (),
    instructs: bool = False,
    title: str = "",
) -> IndexDocument:
    return IndexDocument(
        id=id_,
        collection=collection,
        rig=rig,
        roles=roles,
        title=title,
        text=text,
        updated_at=at,
        instructs=instructs,
    )


def bead(
    id_: str,
    text: str,
    *,
    rig: str | None = "gastown",
    status: str = "open",
    assignee: str | None = None,
    priority: int = 2,
) -> IndexDocument:
    card = BeadCard(bead=id_, status=status, assignee=assignee, priority=priority)
    return doc(f"bead:db/{id_}", text, rig=rig, collection="beads", title=f"{id_}: x").model_copy(update={"bead": card})


def found(index: Index, text: str, **asked: object) -> list[str]:
    query = SearchQuery.model_validate({"text": text, "everything": "rig" not in asked} | asked)
    return [hit.document for hit in index.search(query).hits]


def test_what_is_put_is_found_at_once_by_its_words(opened: Opener) -> None:
    """The search that follows a put sees it, and after an edit only the new words."""
    index = opened()
    index.put([doc("file:a.md", "The refinery merges branches in order.")])
    assert ["file:a.md"] == found(index, "refinery merges")
    result = index.put([doc("file:a.md", "The witness watches polecats.", at=NOON + timedelta(minutes=1))])
    assert (1, 1) == (result.added, result.removed)
    assert ["file:a.md"] == found(index, "witness watches")
    index.wait_embedded()
    assert "refinery" not in index.search(SearchQuery(text="refinery merges", everything=True)).model_dump_json()


def test_a_second_put_changes_nothing(opened: Opener) -> None:
    """The revision stays with the chunks: nothing is embedded twice."""
    embedder = HashedWords()
    index = opened(embedder)
    index.put([doc("file:a.md", "One rule."), doc("file:b.md", "Another rule.")])
    assert index.wait_embedded()
    again = index.put([doc("file:a.md", "One rule."), doc("file:b.md", "Another rule.")])
    assert (0, 0, 2) == (again.added, again.removed, again.unchanged)
    assert index.wait_embedded()
    assert 2 == len(embedder.embedded)


def test_an_older_text_never_replaces_a_newer_one(opened: Opener) -> None:
    """Facts may come in another order than they happened."""
    index = opened()
    index.put([doc("file:a.md", "new words")])
    result = index.put([doc("file:a.md", "old words", at=NOON - timedelta(days=1))])
    assert PutResult(unchanged=1, revision=1) == result
    assert "new words" == index.document("file:a.md").text  # type: ignore[union-attr]


def test_one_rig_never_sees_another(opened: Opener) -> None:
    """By words, by meaning, by name: a rig's documents are its own; the town's are everybody's."""
    index = opened()
    for rig in ("gastown", "beads", None):
        index.put([doc(f"file:{rig}/notes.md", "the same secret words of the rig and more", rig=rig)])
        index.put([bead(f"x-{rig}1", "the same secret words again", rig=rig)])
    assert index.wait_embedded()
    for text in ("same secret words", "x-beads1", "x-gastown1", "notes.md", "file:beads/notes.md beads/notes.md"):
        assert {"file:None/notes.md", "bead:db/x-None1"} >= set(found(index, text, rig=None))
        assert not [one for one in found(index, text, rig="gastown", limit=200) if "beads/" in one or "beads1" in one]
        assert not [one for one in found(index, text, rig="nowhere", limit=200) if "None" not in one]
    assert "bead:db/x-beads1" in found(index, "x-beads1")


def test_a_query_that_names_something_gets_it_first(opened: Opener) -> None:
    """A bead, a file, a formula: before all that talks about it."""
    index = opened()
    talk = "gt-abc12 gt-abc12 mol-polecat-work mol-polecat-work docs/plan.md docs/plan.md"
    index.put([doc(f"session:{number}", f"{talk} number {number}", collection="sessions") for number in range(20)])
    index.put([bead("gt-abc12", "fix the thing"), doc("file:docs/plan.md", "what we want")])
    formula = 'formula = "mol-polecat-work"\ndescription = "work"\n[[steps]]\nid = "a"\ntitle = "b"\ndescription = "c"'
    index.put([doc("file:.beads/formulas/mol-polecat-work.formula.toml", formula, collection="formulas")])
    assert index.wait_embedded()
    for text, first in {
        "what of gt-abc12?": "bead:db/gt-abc12",
        "docs/plan.md says": "file:docs/plan.md",
        "mol-polecat-work": "file:.beads/formulas/mol-polecat-work.formula.toml",
    }.items():
        assert first == found(index, text)[0]


def test_nothing_takes_all_places(opened: Opener) -> None:
    """A few chunks of a document at most, and what says the same as a better hit is left out."""
    index = opened()
    long = "\n\n".join(f"# Part {number}\n\nmerge queue rule {number} " + f"word{number} " * 60 for number in range(12))
    index.put([doc("file:long.md", long)])
    index.put([doc(f"file:copy{number}.md", "merge queue copied word for word") for number in range(9)])
    assert index.wait_embedded()
    hits = found(index, "merge queue", limit=20)
    assert 3 >= hits.count("file:long.md")
    assert 1 == sum(one.startswith("file:copy") for one in hits)


def test_collections_and_roles_are_asked_for(opened: Opener) -> None:
    index = opened()
    index.put(
        [
            doc("file:CLAUDE.md", "shared words here", collection="configs"),
            doc("prime:witness", "shared words there", collection="configs", roles=("witness",)),
            doc("session:1", "shared words anywhere", collection="sessions"),
        ]
    )
    assert {"file:CLAUDE.md", "prime:witness"} == set(found(index, "shared words", collections=["configs"]))
    assert {"file:CLAUDE.md", "session:1"} == set(found(index, "shared words", roles=["polecat"]))


def test_what_was_removed_is_gone_after_a_restart_too(opened: Opener) -> None:
    index = opened()
    index.put([doc("file:a.md", "alpha"), doc("file:b.md", "alpha beta"), bead("gt-1", "alpha gamma")])
    assert index.wait_embedded()
    assert 1 == index.remove(["file:a.md", "file:unknown"]).removed
    assert 1 == index.keep_only("bead:db/", ["bead:db/gt-2"]).removed
    assert index.wait_embedded()
    index.close()
    again = opened()
    assert again.wait_embedded()
    assert ["file:b.md"] == found(again, "alpha")
    assert (1, 1, 0) == (
        again.status().collections[4].chunks,
        again.status().collections[4].vectors,
        again.status().waiting,
    )


def test_a_restart_embeds_nothing_again(opened: Opener) -> None:
    """Vectors are read from disk, and are those that were written."""
    index = opened()
    index.put([doc(f"file:{number}.md", f"text {number}") for number in range(40)])
    assert index.wait_embedded()
    before = index.search(SearchQuery(text="text 7", everything=True, explain=True)).hits
    index.close()
    embedder = HashedWords()
    again = opened(embedder)
    assert again.wait_embedded()
    assert [] == embedder.embedded
    assert (
        before[0].scores.dense
        == again.search(SearchQuery(text="text 7", everything=True, explain=True)).hits[0].scores.dense
    )


def test_a_second_owner_is_refused(opened: Opener) -> None:
    """Two processes on one folder would break it."""
    opened()
    with pytest.raises(Conflict, match="owned by another process"):
        opened()
