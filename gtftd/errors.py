"""The errors of gtftd: their class says whether trying again can help."""

from __future__ import annotations

from datetime import timedelta


class GtftdError(Exception):
    """A message for a person; context as keywords, for the log."""

    def __init__(self, message: str, **context: object) -> None:
        super().__init__(message)
        self.context = context


class Retriable(GtftdError):
    """The world may change: try again, at the earliest after `after`."""

    def __init__(self, message: str, *, after: timedelta | None = None, **context: object) -> None:
        super().__init__(message, **context)
        self.after = after


class Busy(Retriable):
    """Somebody else holds what we need."""


class Unreachable(Retriable):
    """A service does not answer."""


class NoDaemon(Unreachable):
    """Nothing answers on the control socket."""


class NotReady(Retriable):
    """What we need is not there yet."""


class NoSpace(Retriable):
    """The disk is full."""


class NonRetriable(GtftdError):
    """The world will not change by waiting."""


class Invalid(NonRetriable):
    """The input breaks its contract."""


class Missing(NonRetriable):
    """What was asked for does not exist."""


class Conflict(NonRetriable):
    """It exists already, differently."""


class Corrupt(NonRetriable):
    """What we stored is not what we read."""


class Refused(NonRetriable):
    """Allowed to nobody, or not to this caller."""
