"""When a closed bead is opened again, its life is told anew: the label that it had is no longer true."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Documents
from gtftd.schemas.town import BeadReopened


@on(
    BeadReopened,
    key=lambda event: f"{event.database}/{event.bead}#{event.episode}@{event.at.isoformat()}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=2),
)
async def tell_reopened_bead(event: BeadReopened, documents: Documents) -> None:
    """A life is kept by bead and content: a second run tells the same."""
    await documents.bead_changed(event)
