"""When a bead is opened again, the entries of its earlier episodes are worth less."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import BeadReopened


@on(
    BeadReopened,
    key=lambda event: f"{event.database}/{event.bead}#{event.episode}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=4,
    timeout=timedelta(minutes=5),
)
async def relabel_reopened_bead(event: BeadReopened, evidence: Evidence, collector: Collector) -> None:
    """A reopening is kept by its episode, and an entry with the same label has the same content."""
    await evidence.add_reopening(event)
    await collector.of_bead(event.bead)
