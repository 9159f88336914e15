"""The word index: BM25 by tantivy, in memory. Names are looked up whole and by their parts, prose by its stems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import tantivy
from tantivy import Document, Filter, Occur, Query, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from gtftd.rag.embedding import clean
from gtftd.rag.vocabulary import meanings_in
from gtftd.rag.words import names_of
from gtftd.schemas.rag import Collection

_HEAP_BYTES = 15_000_000
"""The least that tantivy takes: a commit after one chunk costs what this costs to set up."""
_MOST_WORDS = 64
_MOST_NAMES = 24
_TOWN = "town"
_RIG = "rig:"


class Wordy(Protocol):
    """A chunk with what is known of its document."""

    @property
    def id(self) -> str: ...
    @property
    def heading(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def collection(self) -> Collection: ...
    @property
    def rig(self) -> str | None: ...
    @property
    def bead(self) -> str | None: ...


@dataclass(frozen=True)
class Boosts:
    """What a word is worth in the parts of a chunk."""

    title: float = 0.5
    heading: float = 0.5
    body: float = 1.0
    names: float = 1.0
    meaning: float = 1.0
    """What its Gas Town words mean in plain ones."""


class Lexical:
    """Not safe for several threads at once: whoever owns it takes turns."""

    def __init__(self, boosts: Boosts | None = None) -> None:
        self._boosts = boosts or Boosts()
        self._words = _analyzer()
        self._schema = _schema()
        self._index = tantivy.Index(self._schema)
        self._index.register_tokenizer("words", self._words)
        self._index.register_tokenizer("names", TextAnalyzerBuilder(Tokenizer.whitespace()).build())
        self._index.config_reader("manual")  # the usual one reloads ten times a second, and not sooner
        self._writer = self._index.writer(_HEAP_BYTES, 1)
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._next = 1
        self._dirty = False

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, chunks: Iterable[Wordy]) -> None:
        """Seen by searches after `commit`. A chunk that is there already is put anew."""
        for chunk in chunks:
            self.remove((chunk.id,))
            self._writer.add_document(self._document(chunk))
            self._numbers[chunk.id] = self._next
            self._ids[self._next] = chunk.id
            self._next += 1
            self._dirty = True

    def _document(self, chunk: Wordy) -> Document:
        names = dict.fromkeys(names_of("\n".join((chunk.title, chunk.heading, chunk.text))))
        if chunk.bead:
            names[chunk.bead.lower()] = None
        document = Document()
        document.add_unsigned("number", self._next)
        document.add_text("rig", _TOWN if chunk.rig is None else _RIG + clean(chunk.rig))
        document.add_text("collection", chunk.collection)
        document.add_text("title", clean(chunk.title))
        document.add_text("heading", clean(chunk.heading))
        document.add_text("body", clean(chunk.text))
        document.add_text("names", clean(" ".join(names)))
        document.add_text("meaning", " ".join(meanings_in(f"{chunk.title}\n{chunk.heading}\n{chunk.text}")))
        return document

    def remove(self, ids: Iterable[str]) -> None:
        """Unknown ids are nothing to remove."""
        for chunk in ids:
            number = self._numbers.pop(chunk, None)
            if number is not None:
                del self._ids[number]
                self._writer.delete_documents_by_term("number", number)
                self._dirty = True

    def clear(self) -> None:
        """Nothing is there any more."""
        self._writer.delete_all_documents()
        self._numbers.clear()
        self._ids.clear()
        self._dirty = True
        self.commit()

    def commit(self) -> None:
        """What was put and removed before is seen by searches that begin after it; free of cost with nothing new."""
        if self._dirty:
            self._writer.commit()
            self._index.reload()
            self._dirty = False

    def search(
        self,
        text: str,
        *,
        rig: str | None = None,
        everything: bool = False,
        collections: Sequence[Collection] = (),
        limit: int = 50,
    ) -> list[tuple[str, float]]:
        """Chunk ids with their BM25, the best first. Any text is a query, none is a syntax.

        Seen are the town's chunks and those of `rig`, with `everything` all; no collections: all of them.
        """
        wanted = self._wanted(clean(text))
        if wanted is None or limit < 1:
            return []
        clauses = [(Occur.Must, wanted), *self._filters(None if everything else rig or "", collections)]
        searcher = self._index.searcher()
        found = searcher.search(Query.boolean_query(clauses), limit=limit, count=False).hits
        numbers = searcher.fast_field_values("number", [address for _, address in found])
        scored = [
            (self._ids[number], float(score))
            for (score, _), number in zip(found, numbers, strict=True)
            if isinstance(number, int) and number in self._ids
        ]
        return sorted(scored, key=lambda hit: (-hit[1], hit[0]))

    def _wanted(self, text: str) -> Query | None:
        clauses = []
        fields = (
            ("title", self._boosts.title),
            ("heading", self._boosts.heading),
            ("body", self._boosts.body),
            ("meaning", self._boosts.meaning),
        )
        for word in list(dict.fromkeys(self._words.analyze(text)))[:_MOST_WORDS]:
            for field, boost in fields:
                if boost > 0:
                    clauses.append((Occur.Should, self._term(field, word, boost)))
        for name in list(dict.fromkeys(names_of(text)))[:_MOST_NAMES]:
            clauses.append((Occur.Should, self._term("names", name, self._boosts.names)))
        return Query.boolean_query(clauses) if clauses else None

    def _term(self, field: str, value: str, boost: float) -> Query:
        return Query.boost_query(Query.term_query(self._schema, field, value, "freq"), boost)

    def _filters(self, rig: str | None, collections: Sequence[Collection]) -> list[tuple[Occur, Query]]:
        filters = []
        if rig is not None:
            seen = [_TOWN, _RIG + clean(rig)] if rig else [_TOWN]
            filters.append(Query.term_set_query(self._schema, "rig", seen))
        if collections:
            filters.append(Query.term_set_query(self._schema, "collection", list(collections)))
        return [(Occur.Must, Query.const_score_query(found, 0.0)) for found in filters]


def _analyzer() -> TextAnalyzer:
    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(64))
        .filter(Filter.lowercase())
        .filter(Filter.stopword("english"))
        .filter(Filter.stemmer("english"))
        .build()
    )


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("number", indexed=True, fast=True)
    builder.add_text_field("rig", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("collection", tokenizer_name="raw", index_option="basic")
    for field in ("title", "heading", "body", "meaning"):
        builder.add_text_field(field, tokenizer_name="words", index_option="freq")
    builder.add_text_field("names", tokenizer_name="names", index_option="freq")
    return builder.build()
