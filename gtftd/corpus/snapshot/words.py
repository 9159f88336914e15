"""Text as words, and words as what can be compared: shingles, sketches, rare phrases."""

from __future__ import annotations

import hashlib
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, repeat

PERMUTATIONS = 128
SEED = 42
SHINGLE = 3
_WORD = re.compile(r"\w+")
_FOREIGN = re.compile(r"[^\W\x00-\x7f]")
"""A letter or digit beyond ASCII."""
_PLAIN = bytes(ord(chr(code).lower()) if code < 128 and re.match(r"\w", chr(code)) else 32 for code in range(256))
"""What becomes of each ASCII character: lower case, or a space."""
_PHRASE_SAMPLE = 8
"""A power of two: of the three-word phrases one in so many is kept, the same ones everywhere."""
_PHRASES_MOST = 400
"""Of the phrases of an entry those with the least hashes are kept: the same ones in every entry that has them."""


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation."""
    if not text.isascii() and _FOREIGN.search(text):
        return _WORD.findall(text.lower())
    return text.encode("ascii", "replace").translate(_PLAIN).decode("ascii").split()  # three times as fast


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
    digests = _digests_of(words)
    found = {digest for word, digest in digests.items() if _is_telling(word)}
    found.update(map(_digest, _sampled(words, digests)))
    return array("I", sorted(found)[:_PHRASES_MOST]).tobytes()


def phrase_of(digest: int, words: Sequence[str]) -> str | None:
    """The phrase of this hash, if the text has it."""
    digests = _digests_of(words)
    texts = chain(filter(_is_telling, digests), _sampled(words, digests))
    return next((text for text in texts if _digest(text) == digest), None)


def _is_telling(word: str) -> bool:
    """Whether it is a phrase by itself."""
    return 4 <= len(word) <= 24 and word.isalpha()


def _sampled(words: Sequence[str], digests: Mapping[str, int]) -> Iterator[str]:
    """The three-word phrases that begin with a word of the sample."""
    sampled = {word for word, digest in digests.items() if digest >> 8 & _PHRASE_SAMPLE - 1 == 0}
    for at in compress(range(len(words) - 2), map(sampled.__contains__, words)):
        yield " ".join(words[at : at + 3])


def _digests_of(words: Sequence[str]) -> dict[str, int]:
    unique = dict.fromkeys(words)
    return dict(zip(unique, map(zlib.crc32, map(str.encode, unique, repeat("utf-8"), repeat("replace"))), strict=True))


def _digest(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "replace"))
