"""When an entry is tainted, take back every model that was trained on a snapshot which held it."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.registry import Models
from gtftd.schemas.corpus import EntryTainted


@on(
    EntryTainted,
    key=lambda event: f"{event.entry_id}/{event.sha256}/{event.reason}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=1),
)
async def taint_trained_models(event: EntryTainted, models: Models) -> None:
    """What is tainted stays so: a second run finds nothing to do."""
    if event.snapshots:
        await models.taint_made_of(event.snapshots, f"an entry that it learned from was tainted: {event.reason}")
