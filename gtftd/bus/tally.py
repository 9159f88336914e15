"""What one reaction has done since the daemon started, for operators and for Prometheus."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from gtftd.metrics import Activity, Metrics

Result = Literal["done", "repeated", "retried", "parked"]


@dataclass
class Tally:
    """Counts since the daemon started."""

    done: int = 0
    repeated: int = 0
    retried: int = 0
    parked: int = 0
    running: int = 0
    last_done_at: float | None = None
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=1024))

    def quantile_ms(self, share: float) -> float | None:
        """Of the last 1,024 reactions, in milliseconds."""
        if not self.seconds:
            return None
        ordered = sorted(self.seconds)
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000, 2)


class Counters:
    """Notes the ends of one reaction everywhere at once: the tally, the metrics and the live view."""

    def __init__(self, reaction: str, tally: Tally, metrics: Metrics, activity: Activity) -> None:
        self._reaction = reaction
        self._tally = tally
        self._activity = activity
        self._metrics = metrics
        self._seconds = metrics.reaction_seconds.labels(reaction=reaction)
        self._done = metrics.reactions.labels(reaction=reaction, result="done")

    def done(self, key: str, duration_s: float) -> None:
        self._tally.done += 1
        self._tally.last_done_at = time.time()
        self._tally.seconds.append(duration_s)
        self._done.inc()
        self._seconds.observe(duration_s)
        self._activity.note("reaction", self._reaction, key=key, result="done", duration_s=round(duration_s, 4))

    def repeated(self) -> None:
        self._tally.repeated += 1
        self._count("repeated")

    def retried(self, key: str) -> None:
        self._tally.retried += 1
        self._count("retried")
        self._activity.note("reaction", self._reaction, key=key, result="retried")

    def parked(self, key: str) -> None:
        self._tally.parked += 1
        self._count("parked")
        self._activity.note("reaction", self._reaction, key=key, result="parked")

    def _count(self, result: Result) -> None:
        self._metrics.reactions.labels(reaction=self._reaction, result=result).inc()
