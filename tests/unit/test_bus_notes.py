"""What a live view hears of a published event."""

from __future__ import annotations

from datetime import UTC, datetime

from gtftd.bus.publisher import Publisher
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.corpus import CollectionSkipped
from gtftd.schemas.event import Envelope, Event
from gtftd.schemas.town import BeadClosed, BeadUpdated, GtLogged, SessionEnded
from gtftd.state.outbox import Row

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def noted(*rows: Row) -> list[dict[str, object]]:
    activity = Activity()
    publisher = Publisher.__new__(Publisher)
    publisher._metrics, publisher._activity = Metrics(), activity
    publisher._note(rows)
    return [dict(happening.detail) for happening in activity.recent()]


def row(event: Event) -> Row:
    body = Envelope.wrap(event, id="e-1", source="/town", time=NOW).encode()
    return Row(1, "e-1", f"gtftd.{event.origin}.{event.subject}", body)


def test_identifiers_are_told_and_texts_are_not() -> None:
    """Titles, reasons and payloads are what people wrote; why nothing was collected is a word of ours."""
    closed = BeadClosed(
        at=NOW, seen_by="poll", database="hb", bead="hb-1", title="Pay Ann", reason="Ann", closed_by="m/a"
    )
    updated = BeadUpdated(at=NOW, seen_by="poll", database="hb", bead="hb-1", title="Ann", changes=("status", "title"))
    ended = SessionEnded(at=NOW, seen_by="hook", session_id="s-1", reason="Ann said so")
    logged = GtLogged(at=NOW, seen_by="feed", type="mail", actor="mayor", payload={"bead": "x", "subject": "Ann"})
    skipped = CollectionSkipped(bead="hb-1", session_id=None, reason="no_session")
    assert noted(*map(row, (closed, updated, ended, logged, skipped))) == [
        {"bead": "hb-1", "closed_by": "m/a", "database": "hb"},
        {"bead": "hb-1", "changes": "status,title", "database": "hb"},
        {"session_id": "s-1"},
        {"type": "mail", "actor": "mayor"},
        {"bead": "hb-1", "reason": "no_session"},
    ]


def test_what_cannot_be_read_is_told_by_name_alone() -> None:
    """Large, nested or broken bodies cost the view a detail, and the publisher nothing."""
    large = row(GtLogged(at=NOW, seen_by="feed", type="mail", payload={"text": "x" * 3000}))
    bodies = (b"", b"no json", b"[]", b'{"data": 1}', b"[" * 2000)
    assert noted(large, *(Row(1, "e", "gtftd.town.x", body) for body in bodies)) == [{}] * 6
