"""JSON of strangers: its depth and the count of its values are bounded before anything is built of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

from gtftd.errors import Invalid

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
MAX_DEPTH = 64
MAX_VALUES = 4_000_000
"""A tokenizer of 256 000 words and 600 000 merges has half as many."""
# Always matches from a quote on, an unterminated string to the end: so it never tries the same bytes twice.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BUT_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))


def parse_json(content: bytes, name: str) -> JSON:
    """Raises Invalid for what is no JSON in UTF-8, is too deep or too many, repeats a key, or says NaN."""
    structure = _STRINGS.sub(b"", content).translate(None, _BUT_STRUCTURE)
    if sum(structure.count(mark) for mark in b"[{,") > MAX_VALUES:
        raise Invalid(f"{name} holds more than {MAX_VALUES} values")
    _check_depth(structure.replace(b",", b""), name)
    try:
        parsed: JSON = json.loads(
            content.decode("utf-8"), object_pairs_hook=_without_repetition, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name} is not JSON: {error}") from error
    return parsed


def _check_depth(brackets: bytes, name: str) -> None:
    """Each round takes the innermost level away."""
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise Invalid(f"{name} is no JSON, or nested deeper than {MAX_DEPTH} levels")


def _without_repetition(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
