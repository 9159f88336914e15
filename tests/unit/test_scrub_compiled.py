"""Compiled patterns are kept for the next process, and never believed when they are not what was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gtftd.scrub.compiled import database_of

HEADS = [b"ghp_[a-z]{4}", b"[0-9]+[^0-9]"]
SHORTEST = [0, 4]


def _found(database: Any) -> set[tuple[int, int, int]]:
    found: set[tuple[int, int, int]] = set()
    text = b"12 ghp_abcd 123456 "
    database.scan(text, match_event_handler=lambda what, start, end, *_: found.add((what, start, end)))
    return found


def test_what_was_kept_finds_what_was_compiled(tmp_path: Path) -> None:
    """One file, for its owner only; the town's own values, which give no folder, leave none."""
    expected = _found(database_of(HEADS, SHORTEST))
    for _ in range(2):
        assert expected == _found(database_of(HEADS, SHORTEST, cache=tmp_path / "cache"))
    (kept,) = (tmp_path / "cache").iterdir()
    assert 0o600 == kept.stat().st_mode & 0o777


@pytest.mark.parametrize("broken", [b"", b"short", b"\0" * 4096])
def test_what_is_broken_is_compiled_again(broken: bytes, tmp_path: Path) -> None:
    """Cut off, overwritten or empty: the sum does not fit, and the next process finds a whole one."""
    expected = _found(database_of(HEADS, SHORTEST, cache=tmp_path))
    (kept,) = tmp_path.iterdir()
    whole = kept.stat().st_size
    kept.write_bytes(broken)
    assert expected == _found(database_of(HEADS, SHORTEST, cache=tmp_path))
    assert whole == kept.stat().st_size


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "cache").write_text("")
    assert _found(database_of(HEADS, SHORTEST)) == _found(database_of(HEADS, SHORTEST, cache=tmp_path / "cache"))
