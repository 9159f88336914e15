"""What stands in a crowd is not read, and nothing else is left unread."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.scrub_hostile import HOSTILE
from gtftd.scrub.probes import WINDOW, scanner

PIECES = (
    "a:b::", "1.2.3.", "password=", "secret: '\"", "ghp_AKIAsk-ant-xoxb-", "::1:", "A" * 30, "10.0.0.1 ", "x@y.z ",
    "the quick brown fox jumps over the lazy dog\n", "AKIAIOSFODNN7EXAMPLE ", "\n", "-----BEGIN RSA PRIVATE KEY-----\n",
)  # fmt: skip


def dense(seed: int, size: int) -> bytes:
    """Stretches of one piece, long and short, so that windows are crowded just so, or just not."""
    rng = Random(seed)
    parts = []
    while sum(map(len, parts)) < size:
        parts.append(rng.choice(PIECES) * rng.choice((1, 3, 40, 300)))
    return "".join(parts).encode()


def check(texts: list[bytes]) -> None:
    """Each mark of a full scan is there, or its window says that it is crowded."""
    whole, readable = scanner().scan_each(texts), scanner().scan_each(texts, readable=True)
    for every, told in zip(whole, readable, strict=True):
        crowds = {start // WINDOW for start, what, _ in told if what == "crowd"}
        kept = {(start, id(what)) for start, what, _ in told}
        assert [] == [(s, str(w)) for s, w, _ in every if (s, id(w)) not in kept and s // WINDOW not in crowds]


@pytest.mark.parametrize("seed", range(12))
def test_a_mark_is_kept_or_stands_in_a_crowd(seed: int) -> None:
    check([dense(3 * seed + number, size) for number, size in enumerate((300, 9_000, 30_000))])


@pytest.mark.parametrize("name", HOSTILE)
def test_so_it_is_in_hostile_text(name: str) -> None:
    check([HOSTILE[name](20_000).encode("ascii", "replace"), b"password = kT9!vbQ2zz\n"])
