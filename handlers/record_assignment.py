"""When an agent is given a bead, remember from when."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import BeadAssigned


@on(
    BeadAssigned,
    key=lambda event: f"{event.bead}>{event.actor}@{event.at.isoformat()}/{event.seen_by}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=4,
    timeout=timedelta(minutes=5),
)
async def record_assignment(event: BeadAssigned, evidence: Evidence, collector: Collector) -> None:
    """The row says who, what and when, so a second one is the same; late evidence moves cuts already made."""
    await evidence.add_change(event)
    await collector.of_bead(event.bead)
