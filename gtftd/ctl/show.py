"""How gtftctl prints: tables on a terminal, whole lines in a pipe, JSON when asked."""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from gtftd.control.wire import JsonObject

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

GOOD, BAD, CALM, DIM = "green", "red", "cyan", "dim"
STATES = {"ok": GOOD, "running": GOOD, "paused": "yellow", "draining": "yellow", "starting": CALM}
OUTCOMES = {
    **dict.fromkeys(("merged", "completed"), GOOD),
    **dict.fromkeys(("rejected", "reverted", "failed", "abandoned"), BAD),
}
_PIPE_WIDTH = 240


def program() -> str:
    """How this program can be called from here, so that a hint works as it stands."""
    is_ours = Path(sys.argv[0]).name == "gtftctl"
    return sys.argv[0] if is_ours and shutil.which("gtftctl") is None else "gtftctl"


def console() -> Console:
    """Standard output; in a pipe wide enough that nothing is cut."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, soft_wrap=False)
    return Console(file=cast("TextIO", _Trimmed()), width=_PIPE_WIDTH, highlight=False, soft_wrap=False)


class _Trimmed(io.TextIOBase):
    """Standard output without the blanks with which rich fills lines up to their width."""

    def write(self, text: str) -> int:
        sys.stdout.write("\n".join(line.rstrip(" ") for line in text.split("\n")))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")


def table(*headings: str, right: tuple[str, ...] = (), folded: tuple[str, ...] = (), gap: int = 2) -> Table:
    """A table without lines; columns named in `right` hold numbers, those in `folded` give way where it is narrow."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style=DIM)
    for heading in headings:
        justify: JustifyMethod = "right" if heading in right else "left"
        made.add_column(heading, justify=justify, no_wrap=heading not in folded)
    return made


def told(result: JsonObject) -> str:
    """What an order changed, in one line."""
    changed = ", ".join(str(item) for item in result.get("changed", ()))
    return " ".join(part for part in (changed, str(result.get("detail", ""))) if part) or "nothing to change"


def age(at: float | None, now: float | None = None) -> str:
    """`12 s ago`; `never` for None."""
    return "never" if not at else f"{span(max(0.0, (now or time.time()) - at))} ago"


def short_age(at: float, now: float | None = None) -> str:
    """In its largest unit alone: `12 s`, `5 min`, `3 d`."""
    return " ".join(span(max(0.0, (now or time.time()) - at)).split()[:2])


def span(seconds: float) -> str:
    """A duration in its two largest units: `3 d 4 h`, `5 min`, `12 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    units = ((86_400, "d"), (3_600, "h"), (60, "min"))
    parts = []
    for size, name in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:.0f} {name}")
    return " ".join(parts[:2])


def count(number: int, noun: str) -> str:
    """`1 message`, `2 messages`, `3 entries`."""
    many = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def clean(text: str) -> str:
    """One line without control characters: names from the town must not drive the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
