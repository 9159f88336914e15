"""When a session starts, remember who it is and where its transcript grows."""

from __future__ import annotations

from gtftd.bus import on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.event import Event
from gtftd.schemas.town import SessionStarted


@on(SessionStarted, key=lambda event: f"{event.session_id}@{event.at.isoformat()}/{event.seen_by}", concurrency=4)
async def record_session(event: SessionStarted, evidence: Evidence, collector: Collector) -> list[Event]:
    """The row is keyed by session id and only filled in; what it changes for known closes is reconciled again."""
    await evidence.add_session(event)
    return await collector.of_session(event.session_id)
