"""What one who wants the secrets back reads out of scrubbed text: a decoder that shares nothing with the scrubber."""

from __future__ import annotations

import binascii
import contextlib
import html
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

RUN = 12
"""So many characters in a row are a piece of a secret; of a short secret, six tenths."""
_PROBE = 8
"""Every run of `RUN` holds one of these at each fifth place, so only each fifth place is looked at."""
_NOBODY: frozenset[int] = frozenset()
_DEPTH = 3
_ANSI = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9])")
_FOLD = re.compile(r"[ \t]*[│┃║|]?[ \t]*\n[ \t]*[│┃║|⎿]?[ \t]*")
_NOISE = "'\"`\\│┃║|⎿\u200b"
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrtbf\"'/\\]))")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_BASE64 = re.compile(r"[A-Za-z0-9+/]{12,}")
_HEX = re.compile(r"[0-9a-fA-F]{16,}")
_PRINTABLE = re.compile(rb"[\t\n\r\x20-\x7e]{8,}")
_GZIP = b"\x1f\x8b\x08"


def squeezed(text: str) -> str:
    """Without blanks, quotes, backslashes and borders: what stays together however it was folded or quoted."""
    text = "".join(text.split())
    for noise in _NOISE:
        text = text.replace(noise, "")
    return text


def _unescaped(text: str) -> str:
    """One layer of every kind of escape at once."""
    if "\\" in text:
        text = _ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else _CONTROL.get(m[3], m[3]), text)
    if "&" in text:
        text = html.unescape(text)
    return unquote(text, errors="ignore") if "%" in text else text


def _inflated(raw: bytes) -> Iterator[bytes]:
    at = raw.find(_GZIP)
    while at >= 0:
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj(31).decompress(raw[at:], 4_000_000)
        at = raw.find(_GZIP, at + 1)


def _decoded(run: str, starts: tuple[int, ...]) -> Iterator[bytes]:
    for start in starts:
        part = run[start:]
        if len(part) % 4 == 1:
            part = part[:-1]
        try:
            yield binascii.a2b_base64(part + "=" * (-len(part) % 4))
        except binascii.Error:
            continue


def _blobs(text: str, every_start: bool) -> Iterator[bytes]:
    """What is left of a blob that was cut may begin anywhere within four characters."""
    for match in _BASE64.finditer(text.replace("-", "+").replace("_", "/")):
        yield from _decoded(match.group(), (0, 1, 2, 3) if every_start else (0,))
    for match in _HEX.finditer(text):
        for start in (0, 1) if every_start else (0,):
            part = match.group()[start:]
            yield bytes.fromhex(part[: len(part) // 2 * 2])


def _inner(text: str) -> str:
    """All that can be read in the base64, hex and gzip within."""
    found: dict[bytes, None] = {}
    for view, every_start in ((text, False), (_FOLD.sub("", text), False), (squeezed(text), True)):
        for raw in _blobs(view, every_start):
            for blob in (raw, *_inflated(raw)):
                for part in _PRINTABLE.findall(blob):
                    found[part] = None
    return b"\n".join(found).decode("ascii")


def readings(texts: Iterable[str]) -> Iterator[str]:
    """Every squeezed reading of these neighbouring texts, to three layers of blobs and four of escapes."""
    level = _ANSI.sub("", "\n".join(texts))
    for depth in range(_DEPTH + 1):
        reading, inner = level, ""
        for _ in range(_DEPTH + 1):
            yield squeezed(reading)
            if depth < _DEPTH:
                inner += "\n" + _inner(reading)
            deeper = _unescaped(reading)
            if deeper == reading:
                break
            reading = _ANSI.sub("", deeper)
        level = _ANSI.sub("", inner)
        if not level.strip():
            return


@dataclass
class Wanted:
    """The pieces that give a secret away; each leads to those who planted it."""

    short: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    runs: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    probes: set[str] = field(default_factory=set)

    def add(self, owner: int, secret: str, needs_whole: bool) -> None:
        for form in {secret, unquote(secret), secret.replace(" ", "+")}:
            text = squeezed(form)
            size = len(text) if needs_whole else min(RUN, -(-len(text) * 6 // 10))
            pieces = [text[at : at + size] for at in range(len(text) - size + 1)]
            if size != RUN:
                for piece in pieces:
                    self.short[piece].add(owner)
                continue
            for piece in pieces:
                self.runs[piece].add(owner)
                self.probes.update(piece[at : at + _PROBE] for at in range(RUN - _PROBE + 1))

    def found_in(self, texts: Iterable[str]) -> set[int]:
        """The owners of secrets of which enough can be read."""
        found: set[int] = set()
        for reading in readings(texts):
            for piece, owners in self.short.items():
                if not owners <= found and piece in reading:
                    found |= owners
            for at in range(0, len(reading) - _PROBE + 1, RUN - _PROBE + 1):
                if reading[at : at + _PROBE] in self.probes:
                    for start in range(max(0, at - RUN + _PROBE), at + 1):
                        found |= self.runs.get(reading[start : start + RUN], _NOBODY)
        return found
