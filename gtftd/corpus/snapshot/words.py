"""Text as words, and words as what can be compared: shingles, sketches, rare phrases."""

from __future__ import annotations

import hashlib
import re
import zlib
from array import array
from collections.abc import Collection, Iterable, Sequence
from itertools import compress

PERMUTATIONS = 128
SEED = 42
SHINGLE = 3
_WORD = re.compile(r"\w+")
_FOREIGN = re.compile(r"[^\W\x00-\x7f]")
"""A letter or digit beyond ASCII."""
_PLAIN = bytes(ord(chr(code).lower()) if code < 128 and re.match(r"\w", chr(code)) else 32 for code in range(256))
"""What becomes of each ASCII character: lower case, or a space."""
_SAMPLED = 0x700
"""Where the hash of a word has these bits clear, one in eight, the phrases that it begins are kept."""
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
    unique = set(words)
    digests = _digests_of(unique)
    found = {digest for word, digest in zip(unique, digests, strict=True) if 4 <= len(word) <= 24 and word.isalpha()}
    found.update(_digests_of(_sampled(words, unique, digests)))
    return array("I", _least(found)).tobytes()


def phrase_of(digest: int, words: Sequence[str]) -> str | None:
    """The phrase of this hash, if the text has it."""
    unique = set(words)
    texts = [*sorted(unique), *_sampled(words, unique, _digests_of(unique))]
    return next((text for text in texts if zlib.crc32(text.encode("utf-8", "replace")) == digest), None)


def _sampled(words: Sequence[str], unique: set[str], digests: Iterable[int]) -> list[str]:
    """The three-word phrases that begin with a word of the sample."""
    sampled = {word for word, digest in zip(unique, digests, strict=True) if not digest & _SAMPLED}
    places = compress(range(len(words) - 2), map(sampled.__contains__, words))
    return [" ".join(words[at : at + 3]) for at in places]


def _least(digests: set[int]) -> list[int]:
    """As many as are kept, in order. Hashes lie evenly, so that few more than these need to be sorted."""
    limit = 2**32 if len(digests) <= _PHRASES_MOST else 2**32 * _PHRASES_MOST * 3 // (len(digests) * 2)
    least = sorted([digest for digest in digests if digest < limit])
    return (least if len(least) >= _PHRASES_MOST else sorted(digests))[:_PHRASES_MOST]


def _digests_of(texts: Collection[str]) -> list[int]:
    try:
        return list(map(zlib.crc32, map(str.encode, texts)))
    except UnicodeEncodeError:  # half a surrogate pair
        return [zlib.crc32(text.encode("utf-8", "replace")) for text in texts]
