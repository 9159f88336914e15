"""The index in this process: what is put is found, by whom it may be, and survives what breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gtftd.errors import Conflict, Missing
from gtftd.rag.index import Index
from gtftd.schemas.rag import BeadCard, Collection, IndexDocument, PutResult, SearchQuery
from tests.support.rag_embedder import HashedWords

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=40)
Opener = Callable[..., Index]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Opens the index of this test; what is open in the end is closed."""
    indexes: list[Index] = []

    def open_index(embedder: HashedWords | None = None) -> Index:
        indexes.append(Index.open(tmp_path / "rag", lambda: embedder or HashedWords(), clock=lambda: LATER))
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
    assert 1 == index.remove(index.ids("bead:db/")).removed
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


def test_vectors_of_another_model_are_made_anew(opened: Opener) -> None:
    """Those of two models are never compared, and the log and the status say what happened."""
    index = opened()
    index.put([doc("file:a.md", "some words")])
    assert index.wait_embedded()
    index.close()
    other = HashedWords("another", 32)
    again = opened(other)
    assert again.wait_embedded()
    assert ("another", 32, 0) == (again.status().model, again.status().dimensions, again.status().waiting)
    assert 1 == len(other.embedded)
    assert "docs: its vectors were made by hashed-words, now is another" in again.status().healed
    assert ["file:a.md"] == found(again, "some words")


@pytest.mark.parametrize("noise", [b"", b"not a database at all" * 999])
def test_lost_texts_begin_a_new_generation_and_keep_vectors(opened: Opener, tmp_path: Path, noise: bytes) -> None:
    """What feeds the index sees the generation, and what comes again needs no embedding."""
    index = opened()
    documents = [doc(f"file:{number}.md", f"text {number}") for number in range(5)]
    index.put(documents)
    assert index.wait_embedded()
    generation = index.status().generation
    index.close()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "rag" / f"index.db{suffix}").unlink(missing_ok=True)
    if noise:
        (tmp_path / "rag" / "index.db").write_bytes(noise)
    embedder = HashedWords()
    again = opened(embedder)
    assert generation != again.status().generation
    assert [] == found(again, "text 3")
    assert again.wait_embedded()
    again.put(documents)
    assert again.wait_embedded()
    assert ([], 5) == (embedder.embedded, again.status().collections[4].vectors)
    assert bool(noise) == bool(again.status().healed)


def test_texts_removed_under_it_begin_anew(opened: Opener, tmp_path: Path) -> None:
    embedder = HashedWords()
    index = opened(embedder)
    index.put([doc("file:a.md", "some words")])
    assert index.wait_embedded()
    before = index.status()
    (tmp_path / "rag" / "index.db").unlink()
    index.check()
    assert before.generation != index.status().generation
    assert [] == found(index, "some words")
    index.put([doc("file:a.md", "some words")])
    assert index.wait_embedded()
    assert (1, ["file:a.md"]) == (len(embedder.embedded), found(index, "some words"))


def test_noise_in_chroma_is_embedded_again(opened: Opener, tmp_path: Path) -> None:
    """Found at the start: words at once, vectors after a while."""
    index = opened()
    index.put([doc(f"file:{number}.md", f"text {number}") for number in range(5)])
    assert index.wait_embedded()
    index.close()
    (tmp_path / "rag" / "chroma" / "chroma.sqlite3").write_bytes(b"\x07" * 200_000)
    again = opened()
    assert "file:3.md" in found(again, "text 3")
    assert again.wait_embedded()
    assert (5, 0) == (again.status().collections[4].vectors, again.status().waiting)
    assert again.status().healed


def test_a_model_that_cannot_be_loaded_leaves_the_words(tmp_path: Path) -> None:
    """No meaning, and it says so."""

    def missing() -> HashedWords:
        raise Missing("no such model")

    index = Index.open(tmp_path / "rag", missing)
    try:
        index.put([doc("file:a.md", "some words")])
        assert not index.wait_embedded()
        result = index.search(SearchQuery(text="words", everything=True))
        assert (["file:a.md"], False) == ([hit.document for hit in result.hits], result.dense)
        assert ("", 1) == (index.status().model, index.status().waiting)
    finally:
        index.close()


def test_a_text_over_which_the_model_fails_costs_its_vector_alone(opened: Opener) -> None:
    class Fragile(HashedWords):
        def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
            if any("poison" in text for text in texts):
                raise RuntimeError("native code says no")
            return super().embed_passages(texts)

    index = opened(Fragile())
    index.put([doc("file:a.md", "poison pill"), doc("file:b.md", "plain bread"), doc("file:c.md", "plain water")])
    assert index.wait_embedded()
    assert 3 == index.status().collections[4].vectors
    assert ["file:a.md"] == found(index, "poison")[:1]
    index.close()
    again = Fragile()
    assert opened(again).wait_embedded()
    assert [] == again.embedded


def test_the_newest_is_embedded_first(opened: Opener) -> None:
    """A live change does not wait behind a backlog."""
    embedder = HashedWords(slow_s=0.01)
    index = opened(embedder)
    index.put([doc(f"file:{number}.md", f"backlog {number}") for number in range(300)])
    index.put([doc("file:live.md", "live change", at=NOON + timedelta(days=1))])
    assert index.wait_embedded()
    assert embedder.embedded.index("live change") < 100


def test_what_was_forgotten_is_on_no_disk(opened: Opener, tmp_path: Path) -> None:
    """Neither the words nor the vector, tombstones included, in no file of the folder, while the process runs on."""
    index = opened()
    secret = "hunter2-canary"
    index.put([doc("file:a.md", f"rule one {secret}", instructs=True), doc("file:b.md", "plain")])
    index.put([doc("file:c.md", f"rule two {secret}", instructs=True)])
    index.put([doc("file:c.md", "rule two", instructs=True, at=NOON + timedelta(days=1))])
    assert index.wait_embedded()
    vector = HashedWords().embed_query(f"rule one {secret}").tobytes()
    assert holding(tmp_path, vector)
    index.remove(["file:a.md"], forget=True)
    index.put([doc("file:c.md", "rule two", instructs=True, at=NOON + timedelta(days=2))], forget=True)
    assert [] == holding(tmp_path, secret.encode())
    assert index.wait_embedded()
    assert [] == holding(tmp_path, vector)
    assert 2 == index.status().collections[4].vectors


def holding(folder: Path, content: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def test_conventions_that_came_and_went_are_known_by_their_age(opened: Opener) -> None:
    """First seen stays with the words; what is gone leaves a tombstone until it is said again."""
    index = opened()
    old, new = "# Old\n\nAlways rebase.\n", "# New\n\nNever force push.\n"
    rules = [old + "\n" + "filler " * 250, new + "\n" + "filler " * 250]
    week = timedelta(days=7)
    index.put([doc("file:CLAUDE.md", "\n\n".join(rules), instructs=True, collection="configs")])
    index.put([doc("file:w.md", "For the witness.", instructs=True, roles=("witness",), rig="gastown", at=NOON + week)])
    index.put([doc("file:x.md", "Of another rig.", instructs=True, rig="beads", at=NOON + week)])
    since = NOON + timedelta(days=1)
    assert ["file:w.md"] == [one.document for one in index.instructions_since(since, "gastown", "witness")]
    assert [] == index.instructions_since(since, "gastown", "polecat")
    index.put([doc("file:CLAUDE.md", rules[0], instructs=True, collection="configs", at=NOON + 2 * week)])
    gone = index.instructions_gone_since(since, None, "mayor")
    assert "Never force push." in [one.first_line for one in gone]
    assert ["New"] == list(dict.fromkeys(one.heading for one in gone))
    both = "\n\n".join(rules)
    index.put([doc("file:CLAUDE.md", both, instructs=True, collection="configs", at=NOON + 3 * week)])
    assert [] == index.instructions_gone_since(since, None, "mayor")
    assert [] == index.instructions_since(since, None, "mayor")
    index.remove(["file:w.md"])
    assert ["file:w.md"] == [
        one.document for one in index.instructions_gone_since(NOON + 4 * week, "gastown", "witness")
    ]


def test_beads_are_read_by_their_state(opened: Opener) -> None:
    index = opened()
    me = "gastown/polecats/toast"
    index.put(
        [
            bead("gt-1", "open", assignee=me),
            bead("gt-2", "hooked", status="hooked", assignee=me),
            bead("gt-3", "done", status="closed", assignee=me),
            bead("gt-4", "running", status="in_progress", assignee=me, priority=0),
            bead("hq-1", "town", rig=None, priority=1),
            bead("bd-1", "other", rig="beads"),
        ]
    )
    assert ["gt-2", "gt-4", "gt-1"] == [one.bead.bead for one in index.on_hook(me) if one.bead]
    card = index.card("bd-1")
    assert card is not None
    assert ("beads", "other") == (card.rig, card.text)
    assert index.card("bd-2") is None


def test_hostile_text_is_only_text(opened: Opener) -> None:
    """NUL, odd characters, syntax of queries and of SQL: it is stored, found, and asked for."""
    index = opened()
    texts = [
        "nul \0 byte word",
        "'; DROP TABLE chunks; --",
        '"(a AND [ {" NOT ~2^',
        "\u202e reversed \U0001f4a9",
        "x" * 100_000,
    ]
    index.put([doc(f"file:{number}.md", text) for number, text in enumerate(texts)])
    assert index.wait_embedded()
    for text in texts:
        index.search(SearchQuery(text=text[:8000], everything=True))
    assert 5 == len(index.ids("file:"))
    assert "file:0.md" in found(index, "byte word")
