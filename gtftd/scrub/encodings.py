"""Text inside of text: base64, hexadecimal digits and gzip, as deep as somebody may reasonably nest them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from urllib.parse import quote

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?:0x)?((?:[0-9a-f]{2}){8,}|(?:[0-9A-F]{2}){8,})")
_URL_SIGNS = str.maketrans("-_", "+/")
_PRINTABLE = b"\t\n\r\x1b" + bytes(range(32, 127))
_LOOK_BYTES = 48
_FRAME = " \t\r│┃║|>"
_ROW = re.compile(r"[A-Za-z0-9+/_-]{2,}={0,2}")
_MOST_ROWS = 20000
MAX_DECODED_BYTES = 4 * 1024 * 1024
_LEAST_ROOM = 64 * 1024
_ROOM = 16
"""Text is seldom packed to less than a tenth; what would be larger is not unpacked to its end."""


class Partly(str):
    """The beginning of a text whose rest was not read: what it was packed in goes whole."""

    __slots__ = ()


def decoded(run: str) -> str | None:
    """The text that this run stands for, if it stands for text; None if not. Linear, and bounded for gzip."""
    if len(run) < 16:
        return None
    found = _HEX.fullmatch(run)
    if found is not None:
        said = _text(bytes.fromhex(found[1]))
        if said is not None:
            return said
    return _of_base64(run)


def _of_base64(run: str) -> str | None:
    if _BASE64.fullmatch(run) is None:
        return None
    bare = run.rstrip("=").translate(_URL_SIGNS)
    if len(bare) % 4 == 1:
        bare = bare[:-1]
    try:
        head = base64.b64decode(bare[: min(64, len(bare) // 4 * 4)])
        if not _may_be_text(head):
            return None
        return _text(base64.b64decode(bare + "=" * (-len(bare) % 4)))
    except (binascii.Error, ValueError):
        return None


def _may_be_text(raw: bytes) -> bool:
    """From the first bytes."""
    return raw[:2] in (b"\x1f\x8b", b"x\x9c", b"x\xda", b"x\x01", b"x^") or _is_text(raw[:_LOOK_BYTES])


def _is_text(raw: bytes) -> bool:
    """Nearly all of it is printable; other characters than ASCII may stand in between."""
    return bool(raw) and len(raw.translate(None, _PRINTABLE)) * 20 <= len(raw) * 3


def _text(raw: bytes) -> str | None:
    if raw[:2] == b"\x1f\x8b" or (raw[:1] == b"x" and raw[1:2] in (b"\x9c", b"\xda", b"\x01", b"^")):
        try:
            machine = zlib.decompressobj(wbits=47)
            unpacked = machine.decompress(raw, min(MAX_DECODED_BYTES, _LEAST_ROOM + _ROOM * len(raw)))
        except zlib.error:
            unpacked = b""
        if unpacked:
            said = unpacked.decode(errors="replace")
            if machine.unconsumed_tail:
                return Partly(said)
            return said if _is_text(unpacked[:4096]) else None
    return raw.decode(errors="replace") if _is_text(raw) else None


def block_around(text: str, start: int, end: int) -> tuple[int, int, str] | None:
    """The lines of base64 around this run, if it is a whole line of some: start, end, and the lines joined."""
    line = text.rfind("\n", max(0, start - 24), start) + 1
    stop = text.find("\n", end, end + 24)
    if (line == 0 and start > 24) or text[line:start].strip(_FRAME) or text[end : max(stop, end)].strip(_FRAME):
        return None
    rows = [text[start:end]]
    size = end - start
    while line > 0:
        above = text.rfind("\n", max(0, line - 1 - size - 48), line - 1) + 1
        row = text[above : line - 1].strip(_FRAME)
        if not _ROW.fullmatch(row) or (len(row) != size and (len(rows) > 1 or len(row) < size)):
            break
        rows.insert(0, row)
        size, line = len(row), above
        if len(rows) > _MOST_ROWS:
            return None
    start = text.find(rows[0], line) if len(rows) > 1 else start
    while stop > 0 and len(rows[-1]) == size:
        below = text.find("\n", stop + 1, stop + size + 50)
        row = text[stop + 1 : below if below > 0 else stop + size + 50].strip(_FRAME)
        if not _ROW.fullmatch(row) or len(row) > size or (len(row) < 20 and row.isalpha() and row.islower()):
            break
        end = text.find(row, stop) + len(row)
        rows.append(row)
        stop = below
    return (start, end, "".join(rows)) if len(rows) > 1 else None


def encodings(value: str) -> tuple[str, ...]:
    """The value and the forms in which it may stand in a text, longest first; only forms worth looking for."""
    raw = value.encode(errors="replace")
    forms = {value, json.dumps(value)[1:-1], quote(value, safe=""), value[::-1] if len(value) > 15 else value}
    forms |= {raw.hex(), raw.hex().upper()}
    for padding in range(3):  # base64 of a text that has the value somewhere in it
        coded = base64.b64encode(b"\0" * padding + raw).decode()
        inner = coded[(0, 2, 3)[padding] :].rstrip("=")
        inner = inner[: len(inner) - 1] if len(inner) > 8 else value
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return tuple(sorted((form for form in forms if len(form) >= 8), key=lambda form: (-len(form), form)))
