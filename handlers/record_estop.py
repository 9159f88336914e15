"""When an emergency stop begins, remember whom it stopped."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import EstopRaised


@on(
    EstopRaised,
    key=lambda event: f"{event.rig}@{event.at.isoformat()}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=5),
)
async def record_estop(event: EstopRaised, evidence: Evidence, collector: Collector) -> None:
    """The row says what was stopped and when, so a second one is the same; entries already stored learn of it."""
    await collector.of_sessions(await evidence.add_estop(event))
