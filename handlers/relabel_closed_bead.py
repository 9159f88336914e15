"""When a closed bead is closed once more, its entries learn the later reason (a merge, as a rule)."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.event import event_id
from gtftd.schemas.town import BeadUpdated


@on(
    BeadUpdated,
    key=lambda event: (
        f"{event.database}/{event.bead}@{event.at.isoformat()}/{','.join(event.changes)}/{event_id(event.reason)[:8]}"
    ),
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=4,
    timeout=timedelta(minutes=5),
)
async def relabel_closed_bead(event: BeadUpdated, evidence: Evidence, collector: Collector) -> None:
    """A reason is kept once, and an entry with the same label has the same content."""
    if event.reason:
        await evidence.add_reason(event)
        await collector.of_bead(event.bead)
