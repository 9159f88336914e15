"""When a session ends, store what is left to store of it: work without a bead, and work that broke off."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import SessionEnded


@on(
    SessionEnded,
    key=lambda event: f"{event.session_id or event.tmux_session}@{event.at.isoformat()}/{event.seen_by}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=5),
)
async def collect_ended_session(event: SessionEnded, evidence: Evidence, collector: Collector) -> None:
    """Ends are kept by what they say, entries by session and content: a second run finds them there."""
    await collector.of_sessions(await evidence.add_end(event))
