"""When a session starts, remember who it is and where its transcript grows."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import SessionStarted


@on(
    SessionStarted,
    key=lambda event: f"{event.session_id}@{event.at.isoformat()}/{event.seen_by}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=4,
    timeout=timedelta(minutes=5),
)
async def record_session(event: SessionStarted, evidence: Evidence, collector: Collector) -> None:
    """What was said is kept once, and the row follows from all of it; what it changes is reconciled."""
    await collector.of_sessions(await evidence.add_session(collector.placed(event)))
    for bead in await evidence.work_beads(event.session_id):
        await collector.of_bead(bead)
