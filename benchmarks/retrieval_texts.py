"""What `retrieval.py` searches: made of seeded words, with the ids, files and formulas that a town talks of."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from gtftd.schemas.rag import COLLECTIONS, BeadCard, IndexDocument

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
RIGS = ("gastown", "beads", "wyvern", "citadel")
DIMENSIONS = 384
_WORD = re.compile(r"\w+")


class WordVectors:
    """A text is the sum of its words, each of which has a seeded random vector."""

    model_id = "word-vectors"
    dimensions = DIMENSIONS

    def __init__(self) -> None:
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed_query(self, text: str) -> NDArray[np.float32]:
        summed = np.sum([self._of(word) for word in _WORD.findall(text.lower())] or [self._of("")], axis=0)
        return (summed / np.linalg.norm(summed)).astype(np.float32)

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self.embed_query(text) for text in texts])

    def _of(self, word: str) -> NDArray[np.float32]:
        if word not in self._known:
            self._known[word] = np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSIONS).astype("f4")
        return self._known[word]


def made_documents(count: int, seed: int = 7) -> list[IndexDocument]:
    """One chunk each; a fifth is the town's, the others the rigs', one rig after the other, as databases are read."""
    chance = random.Random(seed)
    words = _vocabulary(chance)
    made = []
    for number in range(count):
        rig = (None, *RIGS)[number * 5 // count]
        collection = COLLECTIONS[chance.choices(range(5), (50, 5, 30, 5, 10))[0]]
        bead = f"{(rig or 'hq')[:2]}-{number:05x}"
        title = " ".join(_said(chance, words, 6))
        made.append(
            IndexDocument(
                id=f"bead:{rig or 'hq'}/{bead}" if collection == "beads" else f"{collection}:{rig}/{number}",
                collection=collection,
                rig=rig,
                title=f"{bead}: {title}",
                text=_text(chance, words),
                updated_at=NOON - timedelta(minutes=count - number),
                bead=BeadCard(bead=bead, status="open") if collection == "beads" else None,
            )
        )
    return made


def made_queries(
    count: int, documents: Sequence[IndexDocument], rigs: Sequence[str], seed: int = 8
) -> list[tuple[str, str]]:
    """Words out of documents, every fourth with an id."""
    chance = random.Random(seed)
    queries = []
    for number in range(count):
        document = chance.choice(documents)
        said = chance.sample(document.text.split(), 7)
        name = [document.title.split(":")[0]] if number % 4 == 0 else []
        queries.append((" ".join([*name, *said]), chance.choice(rigs)))
    return queries


def _vocabulary(chance: random.Random) -> list[str]:
    parts = ("ba", "con", "der", "fil", "ga", "mer", "no", "per", "que", "ra", "sta", "ter", "ul", "vi", "wor", "zen")
    return list(dict.fromkeys("".join(chance.choices(parts, k=chance.choice((1, 2, 2, 3)))) for _ in range(12_000)))


def _said(chance: random.Random, words: Sequence[str], count: int) -> list[str]:
    """Few words often, many seldom."""
    return [words[int(len(words) * chance.random() ** 3)] for _ in range(count)]


def _text(chance: random.Random, words: Sequence[str]) -> str:
    said = _said(chance, words, chance.randrange(60, 110))
    said.insert(3, f"gt-{chance.randrange(99999):05x}")
    said.insert(9, f"internal/{chance.choice(words)}/{chance.choice(words)}.go")
    said.insert(20, chance.choice(("mol-polecat-work", "--cleanup-status", "mol-witness-patrol", "gt_done")))
    return " ".join(said)
