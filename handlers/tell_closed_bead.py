"""When a bead closes, tell its life anew, as far as its database can be read."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Documents
from gtftd.schemas.town import BeadClosed


@on(
    BeadClosed,
    key=lambda event: f"{event.database}/{event.bead}#{event.episode}@{event.at.isoformat()}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=2),
)
async def tell_closed_bead(event: BeadClosed, documents: Documents) -> None:
    """A life is kept by bead and content: a second run tells the same."""
    await documents.bead_changed(event)
