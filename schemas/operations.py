"""What the daemon says about itself."""

from __future__ import annotations

from typing import ClassVar

from gtftd.schemas.event import Event


class ReactionParked(Event):
    """A reaction failed for good; `gtftctl parked` shows it."""

    subject: ClassVar[str] = "reaction.parked"
    reaction: str
    key: str
    attempts: int
    error: str
