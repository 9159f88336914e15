"""When an entry is stored, make it searchable."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.rag import Feed
from gtftd.schemas.corpus import EntryStored


@on(
    EntryStored,
    key=lambda event: f"{event.entry_id}/{event.sha256}",
    retry=Retry(attempts=6, first=timedelta(seconds=1), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=2),
)
async def index_stored_entry(event: EntryStored, feed: Feed) -> None:
    """The index is told what the store holds now: a second run tells the same, and nothing changes."""
    await feed.entry_changed(event.entry_id, event.kind, event.entry_origin)
