"""When an entry is tainted, take what it said out of the index, so that nothing of it remains on disk."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.rag import Feed
from gtftd.schemas.corpus import EntryTainted


@on(
    EntryTainted,
    key=lambda event: f"{event.entry_id}/{event.sha256}/{event.reason}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=2),
)
async def index_tainted_entry(event: EntryTainted, feed: Feed) -> None:
    """Removing what is gone is nothing; what the store holds now is told again."""
    await feed.entry_changed(event.entry_id, event.kind, event.entry_origin, tainted=event.sha256)
