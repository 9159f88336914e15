"""What may be asked and ordered of the running daemon, and its answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gtftd.schemas.corpus_views import EntriesStatus
from gtftd.schemas.protocol import PROTOCOL, Answer, Name, Strict

MOST_RUNS = 20
"""In a status."""

Phase = Literal["starting", "running", "draining", "stopping"]
"""Of a daemon's life."""
State = Literal[Phase, "paused", "estop"]


class PauseParams(Strict):
    """Stop a reaction, or all of them without a name; facts wait on the bus meanwhile."""

    reaction: Name | None = None
    reason: Annotated[str, Field(max_length=500)] = ""


class ResumeParams(Strict):
    """Undo a pause; without a name, undo every pause."""

    reaction: Name | None = None


class DrainParams(Strict):
    """Finish what runs, take nothing new, then end."""

    timeout_s: Annotated[float, Field(gt=0, le=3600, strict=False)] = 60.0


class ParkedListParams(Strict):
    reaction: Name | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 100


class ParkedShowParams(Strict):
    id: int


class ParkedChoice(Strict):
    """Some by their numbers, or all (of one reaction)."""

    ids: Annotated[tuple[int, ...], Field(max_length=5000, strict=False)] = ()
    all: bool = False
    reaction: Name | None = None


class ParkedRetryParams(ParkedChoice):
    pass


class ParkedDropParams(ParkedChoice):
    reason: Annotated[str, Field(max_length=500)] = ""


class LogsParams(Strict):
    lines: Annotated[int, Field(ge=0, le=100_000)] = 100
    follow: bool = False
    level: Literal["debug", "info", "warning", "error"] = "debug"


class WatchParams(Strict):
    """Happenings from now on, after the last `recent` ones."""

    recent: Annotated[int, Field(ge=0, le=500)] = 50


class ConditionStatus(Answer):
    """One component on the board of health; `since` in Unix seconds."""

    component: str
    state: Literal["ok", "degraded", "off"]
    name: str = ""
    detail: str = ""
    since: float = 0.0


class HealthResult(Answer):
    ok: bool
    conditions: tuple[ConditionStatus, ...] = ()


class StreamStatus(Answer):
    name: str
    messages: int = 0
    bytes: int = 0


class BusStatus(Answer):
    mode: Literal["embedded", "external"] = "embedded"
    url: str = ""
    connected: bool = False
    streams: tuple[StreamStatus, ...] = ()


class SourceStatus(Answer):
    """Where facts come from; `condition` is empty when the source works."""

    name: str
    last_fact_at: float | None = None
    facts: int = 0
    condition: str = ""


class ReactionStatus(Answer):
    """One reaction; counts since the daemon's first start where the ledger knows them, else since this one."""

    name: str
    subject: str = ""
    state: Literal["running", "paused", "stopped"] = "running"
    concurrency: int = 1
    pending: int = 0
    running: int = 0
    done: int = 0
    retried: int = 0
    parked: int = 0
    last_done_at: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


class ReactionsResult(Answer):
    reactions: tuple[ReactionStatus, ...] = ()


class ClosesStatus(Answer):
    """Closed beads: seen, with an entry, and those for which nothing could be collected."""

    seen: int = 0
    with_entry: int = 0
    skipped: int = 0


class EstopStatus(Answer):
    """An ESTOP file of the town; `rig` is None for the whole town."""

    rig: str | None = None
    trigger: str = ""
    at: str = ""
    reason: str = ""


class RunStatus(Answer):
    """What a glance tells of a training run; `train.show` tells all. Without the models of trainings: a fast start."""

    run: str
    role: str
    kind: str = "role"
    objective: str
    stage: str
    note: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    held_out_loss: float | None = None
    tokens_per_s: float = 0.0
    """Supervised."""
    eta_s: float | None = None
    problem: str = ""
    """The newest that did not end it."""
    by: str = ""
    model: str | None = None


class TrainingStatus(Answer):
    """Runs that have not ended, the oldest first, and the last that has."""

    runs: tuple[RunStatus, ...] = ()
    more: int = 0
    """Runs that wait behind these."""
    last: RunStatus | None = None


class StatusResult(Answer):
    """The daemon at one glance."""

    version: str
    boot_id: str = ""
    pid: int = 0
    town: str = ""
    state_dir: str = ""
    started_at: float = 0.0
    uptime_s: float = 0.0
    state: State = "running"
    estop: tuple[EstopStatus, ...] = ()
    bus: BusStatus = BusStatus.model_construct()
    outbox: int = 0
    spool_pending: int = 0
    sources: tuple[SourceStatus, ...] = ()
    reactions: tuple[ReactionStatus, ...] = ()
    entries: EntriesStatus = EntriesStatus.model_construct()
    health: tuple[ConditionStatus, ...] = ()
    missed: dict[str, int] = Field(default_factory=dict)
    closes: ClosesStatus = ClosesStatus.model_construct()
    training: TrainingStatus = TrainingStatus.model_construct()


class ChangedResult(Answer):
    """What an order changed: the reactions, or the numbers of parked rows, and a line for a person."""

    changed: tuple[str, ...] = ()
    detail: str = ""


class ParkedRow(Answer):
    id: int
    reaction: str
    key: str
    subject: str = ""
    attempts: int = 0
    error: str = ""
    parked_at: float = 0.0


class ParkedListResult(Answer):
    total: int = 0
    parked: tuple[ParkedRow, ...] = ()


class ParkedShowResult(ParkedRow):
    """With the traceback and the message: as JSON when it parses, else its first bytes as text."""

    traceback: str = ""
    event: dict[str, Any] | None = None
    body: str = ""
    body_bytes: int = 0


class LogLine(Answer):
    """One JSON line of the log, as it was written."""

    line: str


class MetricsResult(Answer):
    """The text that Prometheus scrapes."""

    text: str


class HappeningResult(Answer):
    """One line of a live view (`gtftd.metrics.Happening`)."""

    at: float
    kind: str
    name: str
    detail: dict[str, str | int | float | None] = Field(default_factory=dict)


class VersionResult(Answer):
    version: str
    protocol: int = PROTOCOL
    python: str = ""
    pid: int = 0
