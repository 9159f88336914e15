"""When a poll brings news of beads, make what they say now searchable."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.rag import Feed
from gtftd.schemas.town import BeadsSynced


@on(
    BeadsSynced,
    key=lambda event: f"{event.database}@{event.at.isoformat()}/{event.rows}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=2)),
    concurrency=4,
    timeout=timedelta(minutes=5),
)
async def index_synced_beads(event: BeadsSynced, feed: Feed) -> None:
    """Beads are read as they are when this runs, so a second run tells the same or something newer."""
    await feed.beads_changed(event.database, event.beads)
