"""When several sessions die together, it was hardly the doing of each."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.town import SessionsDied


@on(
    SessionsDied,
    key=lambda event: f"{','.join(sorted(event.tmux_sessions))[:400]}@{event.at.isoformat()}",
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=5),
)
async def record_mass_death(event: SessionsDied, evidence: Evidence, collector: Collector) -> None:
    """The rows say which and when, so a second report is the same; entries already stored learn of it."""
    await collector.of_sessions(await evidence.add_mass_death(event))
