"""The same secret in other clothes: terminal colours, escapes inside strings, base64, URL quoting."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

from gtftd.town.jsonl import clean

_ANSI = re.compile(
    "(?:\x9b|\x1b\\[)[0-?]*[ -/]*[@-~]"  # colours, cursor
    "|\x1b\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)?"  # titles, links
    "|\x1b[PX^_][^\x1b\n]*(?:\x1b\\\\)?"
    "|\x1b[ -/]*[0-~]"
)
_WRITTEN_ANSI = re.compile(r"\\{1,4}(?:u001[bB]|x1[bB]|033|e)\[[0-9;?]{0,32}[A-Za-z]")
_INVISIBLE = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff]")
_WRITTEN_CHAR = re.compile(r"\\{1,4}(?:u00|x)(?P<code>[2-7][0-9a-fA-F])")
_PLAIN_CHAR = re.compile(r"[A-Za-z0-9+/_.=:@-]")


def plain(text: str) -> str:
    """Text as a person reads it: no terminal escapes, no invisible characters, no letters written as numbers."""
    text = clean(text)
    if "\x1b" in text or "\x9b" in text:
        text = _ANSI.sub("", text)
    if "\\" in text:
        text = _WRITTEN_ANSI.sub("", text)
        text = _WRITTEN_CHAR.sub(_written, text)
        if ":\\/\\/" in text:
            text = text.replace("\\/", "/")
    return _INVISIBLE.sub("", text)


def _written(found: re.Match[str]) -> str:
    sign = chr(int(found["code"], 16))
    return sign if _PLAIN_CHAR.fullmatch(sign) else found.group()


def encodings(value: str) -> tuple[str, ...]:
    """The value and the forms in which it may stand in a text, longest first; only forms worth looking for."""
    raw = value.encode(errors="replace")
    forms = {value, json.dumps(value)[1:-1], quote(value, safe="")}
    for padding in range(3):  # base64 of a text that has the value somewhere in it
        coded = base64.b64encode(b"\0" * padding + raw).decode()
        inner = coded[(0, 2, 3)[padding] :].rstrip("=")
        forms.add(inner[: len(inner) - 1] if len(inner) > 8 else value)
    return tuple(sorted((form for form in forms if len(form) >= 8), key=lambda form: (-len(form), form)))
