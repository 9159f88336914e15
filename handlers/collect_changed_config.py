"""When a file that tells agents how to behave changes, record from when on, and collect it."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.corpus import Collector, Documents
from gtftd.schemas.town import ConfigChanged


@on(
    ConfigChanged,
    key=lambda event: f"{event.path}@{event.at.isoformat()}/{event.sha256}",
    retry=Retry(attempts=8, first=timedelta(seconds=1), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=2),
)
async def collect_changed_config(event: ConfigChanged, documents: Documents, collector: Collector) -> None:
    """Records are kept by path and time, documents by path and content: a second run finds them there."""
    await documents.changed(event)
    await collector.under_new_conventions(event.at)
