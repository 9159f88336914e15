"""From a pattern of `re` to the pattern of its head, in the language of the one-pass scanner."""

from __future__ import annotations

import re
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_LONGEST = 10
_CLASSES = {
    codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_NOT_DIGIT: r"\D", codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S", codes.CATEGORY_WORD: r"\w", codes.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def head_of(source: str) -> str:
    """A pattern that matches wherever `source` does, at the same start; as long as its parts have small bounds."""
    written, _open = _sequence(parser.parse(source))
    return written


def _sequence(items: Any) -> tuple[str, bool]:
    """The written items, and whether the rest had to be left out."""
    said = []
    for code, argument in items:
        written, is_open = _item(code, argument)
        said.append(written)
        if is_open:
            return "".join(said), True
    return "".join(said), False


def _item(code: object, argument: Any) -> tuple[str, bool]:  # the parser's own types are private
    match (code, argument):
        case (codes.LITERAL, int(sign)):
            return _sign(sign), False
        case (codes.NOT_LITERAL, int(sign)):
            return f"[^{_sign(sign)}]", False
        case (codes.ANY, _):
            return ".", False
        case (codes.IN, list(parts)):
            return _class(parts), False
        case (codes.SUBPATTERN, (_, flags, _, inner)):
            written, is_open = _sequence(inner)
            return (f"(?i:{written})" if flags & re.IGNORECASE else f"(?:{written})"), is_open
        case (codes.ATOMIC_GROUP, inner):
            written, is_open = _sequence(inner)
            return f"(?:{written})", is_open
        case (codes.BRANCH, (_, branches)):
            heads = [_sequence(branch) for branch in branches]
            return f"(?:{'|'.join(head for head, _ in heads)})", any(is_open for _, is_open in heads)
        case (codes.MAX_REPEAT | codes.MIN_REPEAT | codes.POSSESSIVE_REPEAT, (least, most, inner)):
            return _repeat(int(least), int(most), inner)
        case _:  # looks around, anchors: the confirming pattern has them
            return "", False


def _repeat(least: int, most: int, inner: Any) -> tuple[str, bool]:
    written, is_open = _sequence(inner)
    if is_open:
        return (written if least else ""), True
    if "{" in written and least > 2:
        return f"(?:{written}){{2}}", True
    if most > _LONGEST:
        return (f"(?:{written}){{{min(least, _LONGEST)}}}" if least else ""), True
    return f"(?:{written}){{{least},{most}}}", False


def _class(parts: Any) -> str:
    said = []
    for code, argument in parts:
        if code is codes.NEGATE:
            said.append("^")
        elif code is codes.LITERAL:
            said.append(_sign(argument))
        elif code is codes.RANGE:
            first, last = argument
            said.append(f"{_sign(first)}-{_sign(last)}")
        else:
            said.append(_CLASSES[argument])
    return f"[{''.join(said)}]"


def _sign(code: int) -> str:
    """Non-ASCII characters reach the scanner as question marks."""
    return f"\\x{code if code < 128 else 63:02x}"
