"""When a closed bead changes (it is closed once more, as a rule), tell its life anew."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Documents
from gtftd.schemas.town import BeadUpdated


@on(
    BeadUpdated,
    key=lambda event: f"{event.database}/{event.bead}@{event.at.isoformat()}/{','.join(event.changes)}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=2),
)
async def tell_updated_bead(event: BeadUpdated, documents: Documents) -> None:
    """A life is kept by bead and content: a second run tells the same."""
    if event.status == "closed":
        await documents.bead_changed(event)
