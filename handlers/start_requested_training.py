"""When somebody asks for a training, start the run, or say why there will be none."""

from __future__ import annotations

from datetime import timedelta

from gtftd.bus import Retry, on
from gtftd.schemas.event import Event, event_id
from gtftd.schemas.training_events import TrainingRequested
from gtftd.training import Requests


@on(
    TrainingRequested,
    key=lambda event: event_id(event.model_dump_json()),
    retry=Retry(attempts=30, first=timedelta(seconds=2), most=timedelta(minutes=5)),
    concurrency=1,
    timeout=timedelta(minutes=5),
)
async def start_requested_training(event: TrainingRequested, requests: Requests) -> Event:
    """The run is named after the request, and a run of that name again is that run."""
    return await requests.take(event)
