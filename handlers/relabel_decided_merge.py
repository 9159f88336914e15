"""When a merge request is decided, the work that it was made of learns of it."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.event import event_id
from gtftd.schemas.town import MergeDecided


@on(
    MergeDecided,
    key=lambda event: f"{event.database}/{event.request}@{event.at.isoformat()}/{event_id(event.reason)[:8]}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=5),
)
async def relabel_decided_merge(event: MergeDecided, evidence: Evidence, collector: Collector) -> None:
    """The decision is kept by what it says, and an entry with the same label has the same content."""
    for bead in await evidence.add_decision(event):
        await collector.of_bead(bead)
