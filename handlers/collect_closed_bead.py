"""When a bead closes, store what its workers did as training entries."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.corpus import CollectionSkipped
from gtftd.schemas.town import BeadClosed


@on(
    BeadClosed,
    key=lambda event: f"{event.database}/{event.bead}#{event.episode}/{event.seen_by}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=100), most=timedelta(minutes=2)),
    concurrency=4,
    timeout=timedelta(minutes=5),
)
async def collect_closed_bead(event: BeadClosed, evidence: Evidence, collector: Collector) -> CollectionSkipped | None:
    """Entries are keyed by session, bead and episode and stored by content: a second run finds them there."""
    neighbours = await evidence.add_close(event)
    skipped = await collector.of_close(event)
    for bead in neighbours:
        await collector.of_bead(bead)
    return skipped
