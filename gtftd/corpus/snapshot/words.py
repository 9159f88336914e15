"""Text as words, and words as what can be compared: shingles, sketches, rare phrases."""

from __future__ import annotations

import hashlib
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence

PERMUTATIONS = 128
SEED = 42
SHINGLE = 3
_WORD = re.compile(r"\w+")
_PHRASE_SAMPLE = 8
"""A power of two: of the three-word phrases one in so many is kept, the same ones everywhere."""
_PHRASES_MOST = 400
"""Of the phrases of an entry those with the least hashes are kept: the same ones in every entry that has them."""


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return _WORD.findall(text.lower())


def shingles(words: Sequence[str]) -> set[str]:
    """Each three words that follow one another; the whole of a shorter text."""
    found = set(map(" ".join, zip(words, words[1:], words[2:], strict=False)))
    return found or ({" ".join(words)} if words else set())


def exact_digest(words: Iterable[str]) -> str:
    """The same for texts that differ in case, spaces and punctuation alone."""
    return hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).hexdigest()


def sketch(words: Sequence[str]) -> bytes:
    """The MinHash of the shingles: 128 little-endian numbers of four bytes; the same on every machine."""
    from rensa import RMinHash  # type: ignore[import-untyped]  # a native module, and only the builder needs it

    minhash = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
    minhash.update(shingles(words))
    return array("I", minhash.digest()).tobytes()


def phrases(words: Sequence[str]) -> bytes:
    """Hashes, four bytes each, of a sample of the words and three-word phrases."""
    return array("I", sorted({digest for digest, _ in _phrases(words)})[:_PHRASES_MOST]).tobytes()


def phrase_of(digest: int, words: Sequence[str]) -> str | None:
    """The phrase of this hash, if the text has it."""
    return next((text for found, text in _phrases(words) if found == digest), None)


def _phrases(words: Sequence[str]) -> Iterator[tuple[int, str]]:
    digests = {word: _digest(word) for word in set(words)}
    for word, digest in digests.items():
        if 4 <= len(word) <= 24 and word.isalpha():
            yield digest, word
    sampled = {word for word, digest in digests.items() if digest >> 8 & _PHRASE_SAMPLE - 1 == 0}
    for at in [at for at, word in enumerate(words[:-2]) if word in sampled]:
        text = " ".join(words[at : at + 3])
        yield _digest(text), text


def _digest(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "replace"))
