"""Whether a run of characters was drawn by chance or written by people: a table of letter pairs decides.

`bigrams.txt` holds, for each pair of characters, how much likelier people write it (in code, prose, paths and names)
than chance does, in quarter bits; it was counted over some 45 MB of Python, C, Perl, Markdown and bead text.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import repeat
from operator import add
from pathlib import Path

_ZERO = ord("P")


def surprise(run: str) -> float:
    """Mean bits a pair by which chance explains `run` better than people do; below 0 for what people write."""
    table = _table()
    return -sum(map(table.get, map(add, run, run[1:]), repeat(-10))) / (4 * max(1, len(run) - 1))


@lru_cache(maxsize=1 << 14)
def surprise_bits(run: str) -> float:
    """The same, summed over the run: longer runs are surer."""
    return surprise(run) * (len(run) - 1)


@cache
def _table() -> dict[str, int]:
    signs, *rows = (Path(__file__).parent / "bigrams.txt").read_text().splitlines()
    return {
        first + second: ord(row[at]) - _ZERO
        for first, row in zip(signs, rows, strict=True)
        for at, second in enumerate(signs)
    }
