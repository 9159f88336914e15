"""Counting tokens: with the target model's own tokenizer, or by an estimate that is not low."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gtftd.errors import Invalid, Missing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ESTIMATE = "estimate"
_VOCABULARY = "minilm-tokenizer.json"
_COMMON, _KNOWN = 5000, 13000
"""Places in a vocabulary that is ordered by how often its words are met."""
_PIECES = re.compile(
    r"[A-Za-z]+|[0-9]|\n+|[ \t\r]{2,}|[ \t]|[!-/:-@\[-`{-~]+|[\x00-\x08\x0b-\x1f\x7f]|[\u2010-\u27bf]"
    r"|[^\x00-\x7f\u2010-\u27bf]+"
)
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TYPOGRAPHY = frozenset(
    "\u2014\u2013\u2026\u2192\u2190\u2019\u2018\u201c\u201d\u2022\u2500\u2550\u2502\u251c\u2514\u2713"
)


class Counter(Protocol):
    @property
    def name(self) -> str: ...

    def count(self, text: str) -> int: ...


class Estimate:
    """No less than what the usual vocabularies (32,000 to 150,000 entries) make of the text.

    The weights solve a linear program: the least sum of what is too much, so that no text of a sample falls below
    any of six tokenizers (Qwen, DeepSeek, Tekken, Mistral 1 and 3, SmolLM2). The sample: English, markdown, formulas,
    beads and code, windows of them, and noise: ids, hashes, base64, random letters, CJK, emoji, control characters.
    """

    name = ESTIMATE

    def count(self, text: str) -> int:
        if not text:
            return 0
        # a token holds at least a byte; a tokenizer may set something before the first
        most = len(text.encode("utf-8", "surrogatepass")) + 2
        return min(most, math.ceil(2.0 + sum(_costs(text))))


class HuggingFace:
    """The model's own tokenizer, without what it adds at the ends."""

    def __init__(self, name: str, tokenizer: Tokenizer) -> None:
        self.name = name
        self._tokenizer = tokenizer

    def count(self, text: str) -> int:
        whole = text.encode("utf-8", "replace").decode()
        return len(self._tokenizer.encode(whole, add_special_tokens=False).ids)


def load_counter(path: str | None) -> Counter:
    """The tokenizer at `path`: a tokenizer.json, or a folder that holds one. None: the estimate.

    Read once, until the file changes. Raises Missing where there is none, Invalid when it cannot be read.
    """
    if path is None:
        return Estimate()
    file = Path(path)
    file = file / "tokenizer.json" if file.is_dir() else file
    try:
        state = file.stat()
    except OSError as error:
        raise Missing(f"there is no tokenizer at {file}: {error.strerror}; set prime.tokenizer") from error
    return _load(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _load(file: Path, _changed_ns: int, _size_bytes: int) -> HuggingFace:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more special
        raise Invalid(f"{file} is no tokenizer: {str(error)[:200]}; set prime.tokenizer") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return HuggingFace(file.parent.name if file.name == "tokenizer.json" else file.stem, tokenizer)


def _costs(text: str) -> Iterator[float]:
    before = ""
    for piece in _PIECES.findall(text):
        first = piece[0]
        if first.isascii() and first.isalpha():
            yield _cost_of_word(piece)
        else:
            yield _cost_of_rest(piece, first, before)
            if before == " ":  # it does not join what is no word
                yield 0.359
        before = piece


def _cost_of_rest(piece: str, first: str, before: str) -> float:
    long = len(piece) - 1
    if first.isascii() and first.isdigit():
        return 1.2
    if first == "\n":
        return 1.066 + 0.915 * long
    if first in " \t\r":
        indents = 2.742 if before.endswith("\n") else 0.0
        return indents + (1.342 + 0.037 * long if long or first != " " else 0.0)
    if "\u2010" <= first <= "\u27bf":
        return 2.046 if before == piece else 1.176 if first in _TYPOGRAPHY else 2.93
    if not first.isascii():
        return 1.01 * len(piece.encode("utf-8", "surrogatepass"))
    return _cost_of_signs(piece) if first.isprintable() else 1.3


def _cost_of_signs(piece: str) -> float:
    same = sum(one == other for one, other in itertools.pairwise(piece))
    return 0.693 + 0.181 * same + 0.879 * (len(piece) - 1 - same)


@lru_cache(maxsize=20_000)
def _cost_of_word(word: str) -> float:
    if len(word) > 200:  # noise; and a cache must not hold it
        return 0.85 * len(word) + 1
    humps = _HUMPS.findall(word)
    return 0.207 * (len(humps) - 1) + sum(map(_cost_of_hump, humps))


def _cost_of_hump(hump: str) -> float:
    if len(hump) == 1:
        return 1.345
    if hump.isupper():
        return 0.891 + 0.827 * (len(hump) - 2)
    place = _places().get(hump.lower())
    if place is None:
        return 1.235 + 0.668 * (len(hump) - 2)
    often = 1.111 if place < _COMMON else 1.53 if place < _KNOWN else 1.85
    return often + 0.058 * max(0, len(hump) - 7)


@lru_cache(maxsize=1)
def _places() -> dict[str, int]:
    """Words and how far back they stand; the vocabulary is the embedding model's."""
    file = resources.files("gtftd.rag") / "files" / _VOCABULARY
    words = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
    return {word: place for word, place in words.items() if word.isascii() and word.isalpha() and len(word) > 1}
