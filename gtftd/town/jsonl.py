"""JSON lines that may be hostile: bounded in length and in depth, and never whole in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
_CHUNK_BYTES = 1024 * 1024


def read_objects(
    path: Path,
    problems: Counter[str],
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
    limit_bytes: int | None = None,
) -> Iterator[dict[str, object]]:
    """The objects of a file of JSON lines; what is not one is counted in `problems` and skipped.

    A last line without a newline may still be growing: it counts as `half_line`. Raises OSError.
    """
    left = limit_bytes
    with path.open("rb") as file:
        while left is None or left > 0:
            line = file.readline(max_line_bytes + 1)
            if not line:
                return
            if left is not None:
                left -= len(line)
            if not line.endswith(b"\n"):
                if len(line) <= max_line_bytes:
                    problems["half_line"] += 1
                    return
                problems["too_long"] += 1
                _skip_line(file.readline)
                continue
            loaded = parse(line, problems)
            if loaded is not None:
                yield loaded


def parse(line: bytes, problems: Counter[str]) -> dict[str, object] | None:
    """One line as an object, or None with the reason counted; an empty line is no problem."""
    if b"\0" in line:
        problems["nul"] += 1
        line = line.replace(b"\0", b"")
    line = line.strip()
    if not line:
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError:
        problems["bad_utf8"] += 1
        text = line.decode(errors="replace")
    try:
        loaded = json.loads(text, parse_constant=lambda _: None)
        deep = line.count(b"[") + line.count(b"{") > MAX_DEPTH and _is_deep(loaded)
    except RecursionError:
        deep = True
    except ValueError:
        problems["not_json"] += 1
        return None
    if deep:
        problems["too_deep"] += 1
        return None
    if not isinstance(loaded, dict):
        problems["not_object"] += 1
        return None
    return loaded


def clean(text: str) -> str:
    """The text without what no encoder takes: lone surrogates and NUL become U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _skip_line(readline: Callable[[int], bytes]) -> None:
    """Read on to the end of the line in bounded pieces."""
    while True:
        piece = readline(_CHUNK_BYTES)
        if not piece or piece.endswith(b"\n"):
            return


def _is_deep(value: object) -> bool:
    """Whether containers nest more than MAX_DEPTH deep; without recursion."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return True
