"""When a closed bead is closed once more, its entries learn the later reason (a merge, as a rule)."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.event import Event
from gtftd.schemas.town import BeadUpdated


@on(
    BeadUpdated,
    key=lambda event: f"{event.database}/{event.bead}@{event.at.isoformat()}/{','.join(event.changes)}",
    retry=Retry(attempts=12, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=4,
    timeout=timedelta(minutes=5),
)
async def relabel_closed_bead(event: BeadUpdated, evidence: Evidence, collector: Collector) -> list[Event]:
    """A reason is kept once, and an entry with the same label has the same content."""
    if not event.reason:
        return []
    await evidence.add_reason(event)
    return await collector.of_bead(event.bead)
