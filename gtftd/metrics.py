"""Prometheus metrics, and the recent activity that live views show."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from gtftd.schemas.training import StepLine
    from gtftd.schemas.training_orders import RunView, Stage

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Every metric of the daemon. Labels are names of ours (reaction, source, role, rig), never text."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._facts: dict[str, tuple[int, float]] = {}
        """Kept beside the registry, which collects everything that it has to answer for one sample."""
        ProcessCollector(registry=registry)
        self.events_published = Counter(
            "gtftd_events_published", "Facts acknowledged by the bus.", ["subject"], registry=registry
        )
        self.outbox = Gauge("gtftd_outbox_rows", "Facts that wait for the bus.", registry=registry)
        self.reactions = Counter(
            "gtftd_reactions",
            "Ended attempts of reactions, by result: done, repeated, retried, parked, cancelled.",
            ["reaction", "result"],
            registry=registry,
        )
        self.reaction_seconds = Histogram(
            "gtftd_reaction_seconds",
            "From delivery to acknowledgement.",
            ["reaction"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.parked = Gauge("gtftd_parked_rows", "Reactions parked until somebody looks.", registry=registry)
        self.source_facts = Counter(
            "gtftd_source_facts", "Facts that a source brought in.", ["source"], registry=registry
        )
        self.source_last = Gauge(
            "gtftd_source_last_fact_seconds", "Unix time of a source's last fact.", ["source"], registry=registry
        )
        self.source_errors = Counter(
            "gtftd_source_errors", "Failed attempts of a source.", ["source", "condition"], registry=registry
        )
        self.missed = Counter(
            "gtftd_missed", "What only the sweep found: transcripts, closes.", ["what"], registry=registry
        )
        self.spool_parked = Counter("gtftd_spool_parked", "Spool files that could not be read.", registry=registry)
        self.entries = Counter(
            "gtftd_entries_stored", "Entries stored or stored anew.", ["role", "outcome"], registry=registry
        )
        self.redactions = Counter("gtftd_redactions", "Spans of text replaced, by kind.", ["kind"], registry=registry)
        self.skipped = Counter(
            "gtftd_collection_skipped", "Closes and sessions without an entry.", ["reason"], registry=registry
        )
        self.close_to_entry_seconds = Histogram(
            "gtftd_close_to_entry_seconds",
            "From the moment the close was known to the entry on disk.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.degraded = Gauge("gtftd_degraded", "1 while a component is degraded.", ["component"], registry=registry)
        self.loop_lag_seconds = Histogram(
            "gtftd_loop_lag_seconds", "How late the event loop runs.", buckets=_SECONDS, registry=registry
        )
        self.training = TrainingMetrics(registry)

    def count_facts(self, source: str, count: int) -> None:
        """A source brought facts in, just now."""
        if count:
            self.source_facts.labels(source=source).inc(count)
            self.source_last.labels(source=source).set_to_current_time()
            self._facts[source] = (self._facts.get(source, (0, 0.0))[0] + count, time.time())

    def facts_of(self, source: str) -> tuple[int, float | None]:
        """How many facts a source brought, and when the last one (Unix seconds)."""
        return self._facts.get(source, (0, None))

    def missed_by(self, what: str) -> int:
        """How many sessions or closes only the sweep found."""
        return int(self.registry.get_sample_value("gtftd_missed_total", {"what": what}) or 0)

    def expose(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self.registry)


class TrainingMetrics:
    """Of training runs, by role and objective. Where several runs of one kind run, gauges tell of the newest."""

    _STAGES: tuple[Stage, ...] = ("waiting", "running", "paused")
    _GAUGES = (
        ("loss", "loss", "The mean loss of the last step."),
        ("held_out_loss", "held_out_loss", "The last loss on what is not trained on."),
        ("tokens_per_s", "tokens_per_second", "Supervised tokens, over the last steps."),
        ("step", "step", "The last step."),
        ("steps", "steps", "How many steps there will be."),
        ("eta_s", "eta_seconds", "Until the last step."),
    )

    def __init__(self, registry: CollectorRegistry) -> None:
        by = ["role", "objective"]
        self._runs = Gauge("gtftd_training_runs", "Runs that have not ended, by stage.", ["stage"], registry=registry)
        self._gauges = {
            of_run: Gauge(f"gtftd_training_{name}", text, by, registry=registry) for of_run, name, text in self._GAUGES
        }
        self._tokens = Counter("gtftd_training_supervised_tokens", "Learned from.", by, registry=registry)
        self._skipped = Counter("gtftd_training_skipped_steps", "Steps with NaN or Inf.", by, registry=registry)
        self._checkpoints = Histogram(
            "gtftd_training_checkpoint_seconds",
            "How long a checkpoint held its training up.",
            by,
            buckets=_SECONDS,
            registry=registry,
        )
        self.starts = Counter("gtftd_training_child_starts", "Processes of runs started.", by, registry=registry)
        self.deaths = Counter(
            "gtftd_training_child_deaths", "Processes of runs that died; each is started again.", by, registry=registry
        )
        self.ended = Counter("gtftd_training_runs_ended", "By result.", [*by, "result"], registry=registry)
        self._known_tokens: dict[str, int] = {}

    def show(self, runs: Sequence[RunView]) -> None:
        """How the runs are now that have not ended, the oldest first."""
        stages = Tally(run.stage for run in runs)
        for stage in self._STAGES:
            self._runs.labels(stage=stage).set(stages[stage])
        running = [run for run in runs if run.stage == "running"]
        for name, gauge in self._gauges.items():
            gauge.clear()
            for run in running:
                value = getattr(run, name)
                if value is not None:
                    gauge.labels(role=run.role, objective=run.objective).set(value)
        self._known_tokens = {run.run: self._known_tokens.get(run.run, run.supervised_tokens) for run in runs}

    def count(self, run: str, role: str, objective: str, lines: Sequence[StepLine]) -> None:
        """New steps of one run. Those that it makes again from a checkpoint are counted again: they are work."""
        known = self._known_tokens.get(run)
        for line in lines:
            if known is not None and line.supervised_tokens > known:
                self._tokens.labels(role=role, objective=objective).inc(line.supervised_tokens - known)
            known = line.supervised_tokens
            if line.skipped:
                self._skipped.labels(role=role, objective=objective).inc()
            if line.checkpoint_s > 0:
                self._checkpoints.labels(role=role, objective=objective).observe(line.checkpoint_s)
        if known is not None:
            self._known_tokens[run] = known


@dataclass(frozen=True)
class Happening:
    """One line of a live view; `detail` holds identifiers and numbers, never text of transcripts or beads."""

    at: float
    kind: str
    name: str
    detail: dict[str, str | int | float | None] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Activity:
    """The last happenings, and whoever listens for more. A slow listener loses the oldest, never delays us."""

    def __init__(self, keep: int = 500) -> None:
        self._recent: deque[Happening] = deque(maxlen=keep)
        self._listeners: set[asyncio.Queue[Happening]] = set()

    def note(self, kind: str, name: str, **detail: str | int | float | None) -> None:
        """`kind` is event, reaction, entry or condition; `name` is the event's or reaction's name."""
        happening = Happening(time.time(), kind, name, detail)
        self._recent.append(happening)
        for listener in self._listeners:
            if listener.full():
                with contextlib.suppress(asyncio.QueueEmpty):
                    listener.get_nowait()
            listener.put_nowait(happening)

    def recent(self) -> list[Happening]:
        return list(self._recent)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[asyncio.Queue[Happening]]:
        inbox: asyncio.Queue[Happening] = asyncio.Queue(maxsize=1000)
        self._listeners.add(inbox)
        try:
            yield inbox
        finally:
            self._listeners.discard(inbox)

    async def follow(self) -> AsyncIterator[Happening]:
        """Everything from now on, until the caller stops."""
        with self._listening() as inbox:
            while True:
                yield await inbox.get()
