"""What the control room reads for its callers: the log's tail, the rows of entries, metrics over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from gtftd.control.exposition import metrics_served
from gtftd.control.listing import read_entries
from gtftd.control.logtail import last_lines, tail_log
from gtftd.errors import Conflict, Missing
from gtftd.schemas.control import LogLine, LogsParams
from gtftd.schemas.corpus_views import EntriesParams
from gtftd.state.database import migrate


def line(number: int, level: str = "info") -> str:
    return f'{{"event": "line.{number}", "level": "{level}"}}'


def test_the_last_lines_reach_past_a_rotation(tmp_path: Path) -> None:
    """Oldest first, and only those that are grave enough; what is no JSON is shown."""
    file = tmp_path / "gtftd.log"
    file.with_name("gtftd.log.1").write_text(f"{line(1)}\n{line(2, 'error')}\n")
    file.write_text(f"{line(3)}\nhalf\n")
    assert last_lines(file, 3) == [line(2, "error"), line(3), "half"]
    assert last_lines(file, 9, "warning") == [line(2, "error"), "half"]
    assert last_lines(tmp_path / "none", 5) == []


async def test_following_survives_rotation_and_half_lines(tmp_path: Path) -> None:
    """Every line comes once and whole, in order."""
    file = tmp_path / "gtftd.log"
    file.write_text(f"{line(0)}\n")
    tail = tail_log(file, LogsParams(lines=1, follow=True))
    assert await read(tail) == line(0)
    with file.open("a") as log:
        log.write(f"{line(1)}\n{line(2)[:10]}")
    assert await read(tail) == line(1)
    with file.open("a") as log:
        log.write(f"{line(2)[10:]}\n")
    file.rename(tmp_path / "gtftd.log.1")
    file.write_text(f"{line(3)}\n")
    assert [await read(tail), await read(tail)] == [line(2), line(3)]


async def read(tail: AsyncIterator[LogLine]) -> str:
    async with asyncio.timeout(20):
        return (await anext(tail)).line


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    migrate(tmp_path / "state.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        for number, (role, rig, bead) in enumerate(
            [("polecat", "harbor", "hb-1"), ("polecat", "lantern", "ln-1"), ("mayor", None, None)]
        ):
            connection.execute(
                "INSERT INTO entries (entry_id, sha256, role, rig, bead, episode, session_id, outcome, confidence,"
                " messages, redactions, size_bytes, scrubber, stored_at)"
                " VALUES (?, ?, ?, ?, ?, 1, 's', 'merged', 0.5, 1, 0, 9, '1', ?)",
                (f"%{number}abcdef", f"{number}f" * 32, role, rig, bead, float(number)),
            )
    return tmp_path


def test_entries_are_listed_newest_first(state_dir: Path) -> None:
    """With the path of each file, and the number of all."""
    found = read_entries(state_dir, EntriesParams(limit=2))
    assert (found.total, [row.role for row in found.entries]) == (3, ["mayor", "polecat"])
    assert found.entries[0].path == f"{state_dir}/entries/objects/2f/{'2f' * 32}.json"


def test_entries_are_chosen(state_dir: Path) -> None:
    """By role, rig, bead, and the beginning of an id, in which nothing is a wildcard."""
    assert read_entries(state_dir, EntriesParams(role="polecat", rig="harbor")).total == 1
    assert read_entries(state_dir, EntriesParams(bead="ln-1")).entries[0].rig == "lantern"
    assert read_entries(state_dir, EntriesParams(entry_id="%2ab")).total == 1
    assert read_entries(state_dir, EntriesParams(entry_id="%%%%")).total == 0


def test_without_a_database_nothing_is_made(tmp_path: Path) -> None:
    """Looking leaves no file behind."""
    with pytest.raises(Missing, match="holds no state"):
        read_entries(tmp_path, EntriesParams())
    assert list(tmp_path.iterdir()) == []


def test_metrics_are_served_on_loopback() -> None:
    """Until the block ends; a port that is taken is told."""
    registry = CollectorRegistry()
    Counter("gtftd_test", "A test.", registry=registry).inc()
    with metrics_served(registry, listen="127.0.0.1", port=0) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            assert b"gtftd_test_total 1.0" in answer.read()
        with (
            pytest.raises(Conflict, match=r"set another metrics\.port"),
            metrics_served(registry, listen="127.0.0.1", port=port),
        ):
            pass
