"""The live view, drawn into memory."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gtftd.ctl.scene import Scene, draw, line_of
from gtftd.schemas.control import HappeningResult
from tests.support.control import ROW, Daemon


def drawn(scene: Scene, width: int, height: int) -> list[str]:
    console = Console(file=StringIO(), width=width, height=height, color_system=None, legacy_windows=False)
    console.print(draw(scene, width, height))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue().splitlines()


def scene(*, healthy: bool = True, happenings: int = 100) -> Scene:
    daemon = Daemon(Path("/state/run/control.sock"))
    daemon.healthy = healthy
    told = [
        HappeningResult(at=1_760_000_000.0 + number, kind="event", name="bead.closed", detail={"bead": f"gt-{number}"})
        for number in range(happenings)
    ]
    return Scene("/town/gt", daemon.status(), (ROW,) * 40, tuple(told))


@pytest.mark.parametrize(
    ("name", "detail", "wanted"),
    [
        ("bead.closed", {"bead": "ln-1", "closed_by": "lantern/polecats/nux", "database": "lantern"},
         "ln-1 by lantern/polecats/nux"),
        ("bead.assigned", {"bead": "ln-1", "actor": "lantern/polecats/nux", "by": "mayor"},
         "ln-1 to lantern/polecats/nux by mayor"),
        ("session.started", {"actor": "deacon/boot", "role": "boot", "start": "unknown", "session_id": "0123456789"},
         "deacon/boot session 01234567"),
        ("beads.synced", {"database": "hq", "rows": 1}, "hq 1 row"),
        ("collection.skipped", {"bead": "ln-1", "reason": "no_session"}, "ln-1 (no_session)"),
    ],
)  # fmt: skip
def test_events_read_as_sentences(name: str, detail: dict[str, str | int | float | None], wanted: str) -> None:
    """Who and what, each once."""
    assert line_of(HappeningResult(at=0.0, kind="event", name=name, detail=detail)) == f"{name} {wanted}"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 60), (60, 16)])
@pytest.mark.parametrize("healthy", [True, False])
def test_it_fits_the_terminal(width: int, height: int, *, healthy: bool) -> None:
    """Exactly as many lines as there are, none too long, the frame closed, whatever there is to tell."""
    lines = drawn(scene(healthy=healthy), width, height)
    assert len(lines) == height
    assert max(len(line) for line in lines) == width
    assert (lines[0][0], lines[-1][-1]) == ("╭", "╯")


def test_it_shows_what_matters() -> None:
    """Town, state, sources, reactions, the newest event, entries and where they are."""
    text = "\n".join(drawn(scene(healthy=False), 80, 24))
    for words in ("running", "/town/gt", "spool", "collect_bead", "12 ms", "gt-99", "polecat", "gt-abc12", "merged"):
        assert words in text
    assert "/state/entries" in text
    assert "dolt.unreachable" in text
    assert "Ctrl-C ends" in text


def test_before_the_daemon_answers() -> None:
    """It says that it waits."""
    assert "waiting for the daemon" in "\n".join(drawn(Scene("/town/gt"), 80, 24))


def test_hostile_names_cannot_drive_the_terminal() -> None:
    """Neither escape sequences nor rich markup from the town reach the screen as such."""
    evil = HappeningResult(at=0.0, kind="event", name="x", detail={"bead": "\x1b[2J\x07[red]\n"})
    assert line_of(evil) == "x  [2J [red] "
    text = "\n".join(drawn(Scene("/t", scene().status, (), (evil,)), 80, 24))
    assert "\x1b" not in text
    assert "[red]" in text
