"""Those beside whom the index is measured, each holding the same documents: its own way of filtering by rig."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import bm25s
import chromadb
import numpy as np
import tantivy
from chromadb.config import Settings
from numpy.typing import NDArray

from gtftd.schemas.rag import IndexDocument

Floats = NDArray[np.float32]
_WORD = re.compile(r"\w+")
_TOWN = "town"


class Peer(Protocol):
    name: str

    def __init__(self, folder: Path, documents: Sequence[IndexDocument], vectors: Floats) -> None: ...
    def query(self, text: str, vector: Floats, rig: str, limit: int) -> object: ...
    def upsert(self, documents: Sequence[IndexDocument], vectors: Floats) -> None: ...


class Chroma:
    name = "chroma, dense, filtered"

    def __init__(self, folder: Path, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        client = chromadb.PersistentClient(str(folder / "chroma"), settings=Settings(anonymized_telemetry=False))
        self._all = client.create_collection("all", embedding_function=None, metadata={"hnsw:space": "cosine"})
        for start in range(0, len(documents), 2000):
            self.upsert(documents[start : start + 2000], vectors[start : start + 2000])

    def query(self, text: str, vector: Floats, rig: str, limit: int) -> object:
        return self._all.query(query_embeddings=[vector], n_results=limit, where={"rig": {"$in": [rig, _TOWN]}})

    def upsert(self, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        self._all.upsert(
            ids=[document.id for document in documents],
            embeddings=vectors,
            metadatas=[{"rig": document.rig or _TOWN} for document in documents],
        )


class Fts5:
    name = "SQLite FTS5, filtered"

    def __init__(self, folder: Path, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        self._file = sqlite3.connect(folder / "fts.db")
        self._file.execute("CREATE VIRTUAL TABLE chunks USING fts5(text, rig UNINDEXED, tokenize='porter unicode61')")
        self.upsert(documents, vectors)

    def query(self, text: str, vector: Floats, rig: str, limit: int) -> object:
        match = " OR ".join(f'"{word}"' for word in _WORD.findall(text))
        where = "SELECT rowid, bm25(chunks) FROM chunks WHERE chunks MATCH ? AND rig IN (?, ?) ORDER BY 2 LIMIT ?"
        return self._file.execute(where, (match, rig, _TOWN, limit)).fetchall()

    def upsert(self, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        rows = [(f"{one.title}\n{one.text}", one.rig or _TOWN) for one in documents]
        with self._file:
            self._file.executemany("INSERT INTO chunks VALUES (?, ?)", rows)


class Bm25s:
    name = "bm25s, masked"

    def __init__(self, folder: Path, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        self._index = bm25s.BM25()
        self._index.index([_words(f"{one.title}\n{one.text}") for one in documents], show_progress=False)
        rigs = np.array([one.rig or _TOWN for one in documents])
        self._masks = {rig: ((rigs == rig) | (rigs == _TOWN)).astype("f4") for rig in set(rigs.tolist())}

    def query(self, text: str, vector: Floats, rig: str, limit: int) -> object:
        return self._index.retrieve(
            [_words(text)], k=limit, show_progress=False, weight_mask=self._masks[rig], n_threads=0
        )

    def upsert(self, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        raise NotImplementedError("bm25s indexes everything at once")


class Tantivy:
    name = "tantivy bare, filtered"

    def __init__(self, folder: Path, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        self._schema = (
            tantivy.SchemaBuilder()
            .add_text_field("text", tokenizer_name="en_stem")
            .add_text_field("rig", tokenizer_name="raw", index_option="basic")
            .build()
        )
        self._index = tantivy.Index(self._schema)
        self._writer = self._index.writer(50_000_000, 1)
        self.upsert(documents, vectors)

    def query(self, text: str, vector: Floats, rig: str, limit: int) -> object:
        words = self._index.parse_query(" ".join(_WORD.findall(text)), ["text"])
        seen = tantivy.Query.term_set_query(self._schema, "rig", [rig, _TOWN])
        both = tantivy.Query.boolean_query(
            [(tantivy.Occur.Must, words), (tantivy.Occur.Must, tantivy.Query.const_score_query(seen, 0.0))]
        )
        return self._index.searcher().search(both, limit, count=False)

    def upsert(self, documents: Sequence[IndexDocument], vectors: Floats) -> None:
        for one in documents:
            self._writer.add_document(tantivy.Document(text=f"{one.title}\n{one.text}", rig=one.rig or _TOWN))
        self._writer.commit()
        self._index.reload()


PEERS: tuple[type[Peer], ...] = (Chroma, Fts5, Bm25s, Tantivy)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
