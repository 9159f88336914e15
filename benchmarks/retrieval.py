"""The index beside its peers, over the same chunks and queries, in turn: milliseconds a query, an upsert, an edit.

Ours is a hybrid search with the rig's filter, after the query's embedding; beside it Chroma (dense, filtered), SQLite's
FTS5, bm25s and tantivy, each bare. Vectors come from a model of random word vectors, so that no time is its.
`OMP_NUM_THREADS=1 python benchmarks/retrieval.py --chunks 20000`
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from retrieval_peers import PEERS, Peer
from retrieval_texts import NOON, RIGS, WordVectors, made_documents, made_queries

from gtftd import logs
from gtftd.rag.index import Index
from gtftd.schemas.rag import IndexDocument, SearchQuery

LIMIT = 10
GOALS = "goals: query p50 <= 10, p99 <= 30; upsert <= 20 with its vector on disk; batched >= 5 x; edit p99 < 1000"


@dataclass
class Times:
    """Milliseconds on the clock, and of processor time of all threads."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], object], *, less_ms: float = 0.0, share: int = 1) -> None:
        began, cpu_began = time.perf_counter(), time.process_time()
        work()
        self.wall.append((time.perf_counter() - began) * 1000 / share)
        self.cpu.append((time.process_time() - cpu_began) * 1000 / share)

    def row(self, name: str, against: float) -> str:
        wall = sorted(self.wall)
        p50, p99 = statistics.median(wall), wall[min(len(wall) - 1, int(len(wall) * 0.99))]
        return f"{name:<34}{p50:9.2f}{p99:9.2f}{statistics.median(self.cpu):9.2f}{against / p50 if p50 else 0:8.2f}x"


def table(title: str, times: dict[str, Times]) -> None:
    ours = statistics.median(next(iter(times.values())).wall)
    print(f"\n{title:<34}{'p50':>9}{'p99':>9}{'cpu p50':>9}{'ours/it':>9}")
    for name, found in times.items():
        print(found.row(name, ours))


def race_queries(index: Index, peers: Sequence[Peer], vectors: WordVectors, queries: Sequence[tuple[str, str]]) -> None:
    names = ["gtftd hybrid, filtered", *(peer.name for peer in peers)]
    times = {name: Times() for name in names}
    for number, (text, rig) in enumerate(queries):
        vector = vectors.embed_query(text)
        index.search(SearchQuery(text=text, rig=rig, limit=1))  # its embedding is remembered now
        ways: list[Callable[[], object]] = [
            lambda: index.search(SearchQuery(text=text, rig=rig, limit=LIMIT)),  # noqa: B023
            *(lambda peer=peer: peer.query(text, vector, rig, LIMIT) for peer in peers),  # noqa: B023
        ]
        for turn in range(len(ways)):
            at = (number + turn) % len(ways)
            times[names[at]].measure(ways[at])
    table(f"query, {len(queries)} of each", times)


def race_upserts(index: Index, chroma: Peer, documents: Sequence[IndexDocument], vectors: WordVectors) -> None:
    single = {"gtftd, words and vector on disk": Times(), "chroma alone": Times()}
    found_at_once = Times()
    for number, document in enumerate(documents[:100]):
        edited = edit(document, number, 1)
        vector = vectors.embed_passages([edited.text])
        found_at_once.measure(lambda: index.put([edited]))  # noqa: B023
        index.wait_embedded()
        again = edit(document, number, 2)
        single["gtftd, words and vector on disk"].measure(lambda: (index.put([again]), index.wait_embedded()))  # noqa: B023
        single["chroma alone"].measure(lambda: chroma.upsert([edited], vector))  # noqa: B023
    single["gtftd, found by its words"] = found_at_once
    table("upsert, one by one", single)
    batched = {"gtftd, words and vector on disk": Times(), "chroma alone": Times()}
    for start in range(100, 2100, 500):
        part = [edit(document, number, 3) for number, document in enumerate(documents[start : start + 500])]
        found = vectors.embed_passages([document.text for document in part])
        batched["gtftd, words and vector on disk"].measure(lambda: (index.put(part), index.wait_embedded()), share=500)  # noqa: B023
        batched["chroma alone"].measure(lambda: chroma.upsert(part, found), share=500)  # noqa: B023
    table("upsert, 500 at a time (an item)", batched)
    name = "gtftd, words and vector on disk"
    ratio = statistics.median(single[name].wall) / statistics.median(batched[name].wall)
    print(f"batched against one by one: {ratio:.1f} x")


def follow_edits(index: Index, documents: Sequence[IndexDocument]) -> None:
    """One bead is edited and searched for by its new words while 1,000 others change."""
    running = threading.Event()

    def upsert() -> None:
        for number, document in enumerate(documents[:1000]):
            index.put([edit(document, number, 4)])
        running.set()

    thread = threading.Thread(target=upsert)
    thread.start()
    times = {"edit until found": Times()}
    number = 0
    while not running.is_set():
        number += 1
        word = f"freshword{number}q"
        bead = documents[-1].model_copy(update={"text": f"now it says {word}", "updated_at": NOON + timedelta(number)})

        def until_found() -> None:
            index.put([bead])  # noqa: B023
            while index.search(SearchQuery(text=word, everything=True, limit=1)).hits[0].document != bead.id:  # noqa: B023
                pass

        times["edit until found"].measure(until_found)
    thread.join()
    table(f"an edit while 1,000 upserts run ({number})", times)


def edit(document: IndexDocument, number: int, version: int) -> IndexDocument:
    text = f"{document.text} edited {number} {version}"
    return document.model_copy(update={"text": text, "updated_at": NOON + timedelta(days=version)})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--chunks", type=int, default=20_000)
    arguments.add_argument("--queries", type=int, default=300)
    chosen = arguments.parse_args()
    logs.configure("warning", console=True)
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    print(f"load before the start: {os.getloadavg()[0]:.2f}; {GOALS}")
    vectors = WordVectors()
    documents = made_documents(chosen.chunks)
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        index = Index.open(Path(folder) / "ours", lambda: vectors)
        began = time.perf_counter()
        for start in range(0, len(documents), 500):
            index.put(documents[start : start + 500])
        words_s = time.perf_counter() - began
        index.wait_embedded(600)
        status = index.status()
        chunks, whole_s = sum(one.chunks for one in status.collections), time.perf_counter() - began
        print(f"{chunks} chunks put in {words_s:.1f} s, with vectors in {whole_s:.1f} s")
        print(f"{status.bytes / 1e6:.0f} MB on disk, {status.rss_bytes / 1e6:.0f} MB of memory")
        index.close()
        began = time.perf_counter()
        index = Index.open(Path(folder) / "ours", lambda: vectors)
        words_s = time.perf_counter() - began
        index.wait_embedded(600)
        print(f"start: words after {words_s:.2f} s, vectors after {time.perf_counter() - began:.2f} s")
        found = vectors.embed_passages([document.text for document in documents])
        peers = [peer(Path(folder), documents, found) for peer in PEERS]
        race_queries(index, peers, vectors, made_queries(chosen.queries, documents, RIGS))
        race_upserts(index, peers[0], documents, vectors)
        follow_edits(index, documents)
        index.close()


if __name__ == "__main__":
    main()
