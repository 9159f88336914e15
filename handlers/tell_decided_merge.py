"""When a merge request is decided, the lives of the work and of the request are judged again."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Documents, Evidence
from gtftd.schemas.event import event_id
from gtftd.schemas.town import MergeDecided


@on(
    MergeDecided,
    key=lambda event: f"{event.database}/{event.request}@{event.at.isoformat()}/{event_id(event.reason)[:8]}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=5),
)
async def tell_decided_merge(event: MergeDecided, evidence: Evidence, documents: Documents) -> None:
    """Evidence is kept by what it says, so it does not matter who keeps it first; a life by bead and content."""
    await documents.evidence_changed(await evidence.add_decision(event))
