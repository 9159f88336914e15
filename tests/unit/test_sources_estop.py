"""The emergency stop."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from gtftd.town.estop import EStop, EStopMark


def test_no_file_is_no_stop(tmp_path: Path) -> None:
    """Asked for the town and for a rig."""
    stop = EStop(tmp_path)
    assert stop.active(None) is None
    assert stop.active("gastown") is None


def test_a_stop_of_the_town_stops_every_rig_until_it_is_gone(tmp_path: Path) -> None:
    """The mark is read, and read again when it changes."""
    mark = tmp_path / "ESTOP"
    mark.write_text("manual\t2026-01-18T09:52:29Z\tthe roof burns\n")
    stop = EStop(tmp_path)
    expected = EStopMark(None, "manual", datetime(2026, 1, 18, 9, 52, 29, tzinfo=UTC), "the roof burns")
    assert expected == stop.active("gastown")
    assert expected == stop.active(None)
    mark.write_text("auto")
    assert EStopMark(None, "auto") == stop.active(None)
    mark.unlink()
    assert stop.active("gastown") is None


def test_a_stop_of_a_rig_stops_that_rig_alone(tmp_path: Path) -> None:
    """Others work on; a name with a slash is no rig."""
    (tmp_path / "ESTOP.gastown").write_text("")
    stop = EStop(tmp_path)
    assert EStopMark("gastown") == stop.active("gastown")
    assert stop.active("beads") is None
    assert stop.active(None) is None
    assert stop.active("x/../gastown") is None


def test_a_mark_that_cannot_be_read_is_a_stop(tmp_path: Path) -> None:
    """A pipe, a folder, a dangling link, bytes that are no text: somebody wanted to stop."""
    stop = EStop(tmp_path)
    mark = tmp_path / "ESTOP"
    os.mkfifo(mark)
    assert EStopMark(None) == stop.active(None)
    mark.unlink()
    mark.mkdir()
    assert EStopMark(None) == stop.active(None)
    mark.rmdir()
    mark.symlink_to("nowhere")
    assert EStopMark(None) == stop.active(None)
    mark.unlink()
    mark.write_bytes(b"\xff\0\t\xfe")
    found = stop.active(None)
    assert found is not None
    assert found.since is None
