"""Private key blocks: secrets with a beginning and an end."""

from __future__ import annotations

import re

_BEGIN = re.compile(r"-----BEGIN[ +][A-Z0-9 +]{0,40}PRIVATE[ +]KEY(?:[ +]BLOCK)?-----")
_END = re.compile(r"-----END[ +][A-Z0-9 +]{0,40}PRIVATE[ +]KEY(?:[ +]BLOCK)?-----")
_ROW = re.compile(r"[A-Za-z0-9+/]{40,76}={0,2}(?![A-Za-z0-9+/=])")
_BODY = re.compile(r"(?:(?!-----)[A-Za-z0-9+/=\s\\,:._\"'|│┃⎿>+$-])*+")
_MOST = 64 * 1024
_FEWEST_SIGNS = 12
"""A block with fewer signs in it shows where a key would stand: `XXXX`, `...`."""
_BROKEN_CHARS = 12_000


def key_end(text: str, start: int) -> int | None:
    """Where the key block that begins at `start` ends; one without an end goes as far as it looks like one."""
    begin = _BEGIN.match(text, start)
    if begin is None:
        return None
    body = _BODY.match(text, begin.end(), begin.end() + _MOST)
    stop = body.end() if body is not None else begin.end()
    shows_place = len(set(text[begin.end() : stop])) < _FEWEST_SIGNS
    for place in (stop, text.find("-----END", stop, stop + 400)):  # headers may hold any sign
        end = _END.match(text, text.rfind("-----END", max(begin.end(), place - 8), place + 8)) if place >= 0 else None
        if end is not None:
            return None if shows_place and place == stop else end.end()
    if (broken := _broken_end(text, begin.end(), stop)) is not None:
        return broken
    if shows_place and stop < len(text):
        return None
    return begin.end() + len(text[begin.end() : stop].rstrip("\n \t-"))


def _broken_end(text: str, begin: int, stop: int) -> int | None:
    """The end of a block with something else in it, as when a prompt or a log's line was written between its rows."""
    another = text.find("-----BEGIN", stop, begin + _BROKEN_CHARS)
    end = _END.search(text, stop, begin + _BROKEN_CHARS if another < 0 else another)
    if end is None:
        return None
    inner = text[begin : end.start()]
    rows = sum(len(row.group()) for row in _ROW.finditer(inner))
    return end.end() if rows * 3 > len(inner) else None
