"""When commits reach a main branch or are taken back, the work in whose name they were made learns of it."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Evidence
from gtftd.schemas.event import event_id
from gtftd.schemas.town import CommitsLanded


@on(
    CommitsLanded,
    key=lambda event: event_id(event.model_dump_json()),
    retry=Retry(attempts=40, first=timedelta(milliseconds=200), most=timedelta(minutes=2)),
    concurrency=2,
    timeout=timedelta(minutes=5),
)
async def relabel_landed_work(event: CommitsLanded, evidence: Evidence, collector: Collector) -> None:
    """Each commit is kept once, and an entry with the same label has the same content."""
    for bead in await evidence.add_commits(event):
        await collector.of_bead(bead)
