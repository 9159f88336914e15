"""When commits reach a main branch or are taken back, the lives of their beads are judged again."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Documents, Evidence
from gtftd.schemas.event import event_id
from gtftd.schemas.town import CommitsLanded


@on(
    CommitsLanded,
    key=lambda event: event_id(event.model_dump_json()),
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=5),
)
async def tell_landed_work(event: CommitsLanded, evidence: Evidence, documents: Documents) -> None:
    """Evidence is kept by what it says, so it does not matter who keeps it first; a life by bead and content."""
    await documents.evidence_changed(await evidence.add_commits(event))
