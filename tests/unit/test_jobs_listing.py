"""Which runs there is still something to do for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtftd.jobs.listing import unended_runs
from gtftd.jobs.rundir import SETTLED, RunFolder
from gtftd.schemas.training_orders import Settled
from tests.support.jobs import AT, made


def unended(state: Path) -> list[str]:
    return [folder.name for folder in unended_runs(state)]


def test_a_run_that_was_settled_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each second all runs that there ever were are looked at."""
    for name in ("one", "two"):
        made(tmp_path, name).write_settled(Settled(why="", at=AT))
    assert [] == unended(tmp_path)
    read: list[str] = []
    settled = RunFolder.settled
    monkeypatch.setattr(RunFolder, "settled", lambda self: read.append(self.name) or settled(self))
    made(tmp_path, "three")
    assert ["three"] == unended(tmp_path)
    assert [] == read


def test_a_record_that_is_gone_or_harmed_counts_no_more(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")
    folder.write_settled(Settled(why="", at=AT))
    assert [] == unended(tmp_path)
    (folder.path / SETTLED).write_text("{")
    assert ["one"] == unended(tmp_path)
    folder.write_settled(Settled(why="", at=AT))
    assert [] == unended(tmp_path)
    (folder.path / SETTLED).unlink()
    assert ["one"] == unended(tmp_path)
