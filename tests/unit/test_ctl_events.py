"""The reference of events, and `emit`'s reading of what was typed."""

from __future__ import annotations

import pytest

from gtftd.ctl.emit import build, find_type
from gtftd.ctl.events import render_events
from gtftd.errors import Invalid, Refused
from gtftd.schemas.catalog import EVENTS
from gtftd.schemas.town import BeadClosed


def test_every_event_has_its_section() -> None:
    """Subject, type and each field are there."""
    text = render_events()
    for model in EVENTS.values():
        assert f"Subject `gtftd.{model.origin}.{model.subject}`, type `{model.type_name()}`." in text
        for field in model.model_fields:
            assert f"| `{field}` |" in text


def test_words_under_a_field_are_told() -> None:
    """Also those of a base class."""
    text = render_events()
    assert "How often this bead has been opened: 1, and one more for each reopening." in text
    assert "Relative to the town root." in text


@pytest.mark.parametrize("name", ["bead.closed", "gtftd.bead.closed.v1", "BeadClosed"])
def test_a_type_has_three_names(name: str) -> None:
    """Whichever the operator copied."""
    assert find_type(name) is BeadClosed


def test_facts_are_refused() -> None:
    """Nobody can state for the daemon that an entry exists."""
    with pytest.raises(Refused, match=r"entry.stored is a fact that only the daemon may state"):
        find_type("entry.stored")
    with pytest.raises(Invalid, match=r"there are .*bead\.assigned"):
        find_type("bead.burned")


def test_wrong_fields_are_told_at_once() -> None:
    """Each by its name."""
    with pytest.raises(Invalid, match=r"bead.closed: database: Field required; bead: Field required; x: Extra"):
        build(BeadClosed, {"at": "2026-01-01T00:00:00Z", "seen_by": "emit", "x": "1"})
