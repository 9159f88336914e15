"""When an agent is nudged, remember at what it was."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import AgentNudged


@on(
    AgentNudged,
    key=lambda event: f"{event.actor}@{event.at.isoformat()}/{event.by}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=5),
)
async def record_nudge(event: AgentNudged, evidence: Evidence, collector: Collector) -> None:
    """The row says whom and when, so a second one is the same; entries already stored learn of it."""
    await collector.of_sessions(await evidence.add_nudge(event))
