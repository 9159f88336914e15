from __future__ import annotations

import json
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

_ROOT = Path(__file__).parents[2]
_FILE = _ROOT / "benchmarks" / "retrieval_queries.jsonl"
_SHARED = _ROOT.parent / "shared" / "data"
_BEADS = _SHARED / "gastown" / "beads-backup-2026-03"
_BEAD_FIELDS = ("title", "description", "design", "notes", "acceptance_criteria")
_BEAD = "bead:"

_needs_data = pytest.mark.skipif(not _SHARED.is_dir(), reason="the real data is not beside the project")


class _Answer(BaseModel):
    """One right place: a document, or a passage of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    document: str
    contains: str = ""


class _Query(BaseModel):
    """One line of the query set."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    split: str
    kind: str
    query: str
    relevant: tuple[_Answer, ...]


@lru_cache(maxsize=1)
def _queries() -> tuple[_Query, ...]:
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return tuple(_Query.model_validate_json(line) for line in lines)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


@lru_cache(maxsize=1)
def _beads() -> dict[str, str]:
    """Every bead's words with its comments', by id."""
    texts: dict[str, list[str]] = {}
    for line in (_BEADS / "issues.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        texts[row["id"]] = [row.get(field) or "" for field in _BEAD_FIELDS]
    for line in (_BEADS / "comments.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        texts.setdefault(row["issue_id"], []).append(row["text"])
    return {bead: _plain("\n".join(parts)) for bead, parts in texts.items()}


@lru_cache(maxsize=512)
def _text(document: str) -> str | None:
    if document.startswith(_BEAD):
        return _beads().get(document.removeprefix(_BEAD))
    path = _SHARED / document
    return _plain(path.read_text(encoding="utf-8")) if path.is_file() else None


def _passages(split: str) -> set[tuple[str, str]]:
    return {
        (answer.document, _plain(answer.contains))
        for query in _queries()
        if query.split == split
        for answer in query.relevant
    }


def test_every_query_is_whole() -> None:
    """Each line has an id of its own, a known split and kind, words to ask and a place that answers."""
    queries = _queries()
    assert [] == [name for name, times in Counter(query.id for query in queries).items() if times > 1]
    assert [] == [text for text, times in Counter(_plain(q.query) for q in queries).items() if times > 1]
    assert {"dev", "test"} == {query.split for query in queries}
    assert {"paraphrase", "id", "command", "mixed"} == {query.kind for query in queries}
    assert [] == [query.id for query in queries if not query.query.strip() or not query.relevant]


def test_the_held_out_half_asks_for_other_passages() -> None:
    """What is tuned on the one half cannot have been seen in the other, neither a passage nor a document in whole."""
    dev, test = _passages("dev"), _passages("test")
    assert set() == dev & test
    for seen, other in ((dev, test), (test, dev)):
        whole = {document for document, passage in seen if not passage}
        assert set() == whole & {document for document, _ in other}


def test_most_queries_share_no_phrase_with_the_answer() -> None:
    """At least six of ten are asked in other words: the set judges more than the matching of words."""
    queries = _queries()
    assert 0.6 * len(queries) <= sum(query.kind == "paraphrase" for query in queries)


@_needs_data
def test_every_answer_exists() -> None:
    """Each document and bead named is there, and the passage quoted of it occurs in it."""
    missing = [
        (query.id, answer.document, answer.contains)
        for query in _queries()
        for answer in query.relevant
        if _plain(answer.contains) not in (_text(answer.document) or "") or not _text(answer.document)
    ]
    assert [] == missing
