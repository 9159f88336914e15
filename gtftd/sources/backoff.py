"""How long a database server that fails is left alone."""

from __future__ import annotations

import random

from gtftd.schemas.settings import BeadsSettings


class Backoff:
    """How long to leave a failing thing alone: doubling from `poll_s`, jittered, at most `backoff_most_s`."""

    def __init__(self, settings: BeadsSettings) -> None:
        self._settings = settings
        self._failures = 0
        self.not_before = 0.0

    @property
    def calm(self) -> bool:
        return self._failures == 0

    def ready(self, now: float) -> bool:
        return now >= self.not_before

    def succeeded(self) -> None:
        self._failures = 0
        self.not_before = 0.0

    def failed(self, now: float) -> None:
        delay = min(self._settings.poll_s * 2 ** min(self._failures, 16), self._settings.backoff_most_s)
        self._failures += 1
        self.not_before = now + delay * random.uniform(0.75, 1.0)

    def hurry(self) -> None:
        """Somebody just used the server, so it may be well again."""
        self.not_before = 0.0
