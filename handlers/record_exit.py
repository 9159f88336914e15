"""When an agent reports how its work ended, remember it with the work."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import ExitReported


@on(
    ExitReported,
    key=lambda event: (
        f"{event.bead}<{event.actor}@{event.at.isoformat()}/{event.exit_type}/{event.merge_failed}/{event.push_failed}"
    ),
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=5),
)
async def record_exit(event: ExitReported, evidence: Evidence, collector: Collector) -> None:
    """The row says who, what and how, so a second one is the same; entries already stored learn of it."""
    await evidence.add_exit(event)
    await collector.of_bead(event.bead)
