"""What the scrubber reads: the texts of a message, the lines around a place, and what it need not read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from gtftd.town.conversation import RawMessage

MAX_DEPTH = 32
_REMEMBERED = 16384
_SHORT = 64
_NEAR = 1024
"""What stands around a value decides about it within fewer characters, but for the beginning of a block."""


def around(text: str, places: Sequence[int]) -> list[tuple[int, int]]:
    """The lines around these places; the whole text where that is little less, or a block's beginning may be far."""
    if len(text) <= 4 * _NEAR or "-----BEGIN" in text:
        return [(0, len(text))]
    windows: list[tuple[int, int]] = []
    for place in places:
        first = max(0, place - 4 * _NEAR)
        start = max(first, text.rfind("\n", first, max(0, place - _NEAR)) + 1)
        last = place + 4 * _NEAR
        stop = text.find("\n", place + _NEAR, last)
        stop = min(last, len(text)) if stop < 0 else stop
        if windows and start <= windows[-1][1]:
            windows[-1] = windows[-1][0], stop
        else:
            windows.append((start, stop))
    return windows


class Remembered:
    """Texts in which nothing was found, by digest; of many the latest. Threads may share it."""

    def __init__(self) -> None:
        self._young: dict[bytes | str, None] = {}
        self._old: dict[bytes | str, None] = {}

    def has(self, text: str) -> bool:
        name = _name_of(text)
        return name in self._young or name in self._old

    def add(self, text: str) -> None:
        if len(self._young) >= _REMEMBERED:
            self._old, self._young = self._young, {}
        self._young[_name_of(text)] = None


def _name_of(text: str) -> bytes | str:
    if len(text) <= _SHORT:
        return text
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def texts_of(raw: RawMessage) -> Iterator[str]:
    """The content, and the strings in the arguments of calls."""
    yield raw.content
    for call in raw.tool_calls:
        yield from _strings(call.arguments, 0)


def _strings(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth <= MAX_DEPTH and isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item, depth + 1)
    elif depth <= MAX_DEPTH and isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, depth + 1)
