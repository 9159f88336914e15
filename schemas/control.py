"""The control protocol: JSON lines over the daemon's unix socket, and what each verb takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gtftd.schemas.corpus import Conventions, Fact, Task

PROTOCOL = 1
MAX_REQUEST_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 16 * 1024 * 1024

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Strict(BaseModel):
    """An immutable value without coercion; unknown fields are errors. Built at first use, for a fast start."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Answer(BaseModel):
    """A result. Readers ignore fields that a newer daemon adds."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Request(Strict):
    """One line to the daemon. `id` is the caller's; the answer carries it back."""

    v: Literal[1]
    id: int | Annotated[str, Field(max_length=128)]
    verb: Annotated[str, Field(max_length=64)]
    params: dict[str, Any] = Field(default_factory=dict)


class Failure(Answer):
    """Why a verb failed: the class of the error (`gtftd.errors`) and a message for a person."""

    class_: str = Field(alias="class")
    message: str


# What verbs take


class NoParams(Strict):
    """The verb takes nothing."""


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


class EntriesParams(Strict):
    """The newest entries that match all of these; of the ids of entries and sessions the beginning is enough."""

    entry_id: Annotated[str, Field(min_length=4, max_length=128)] | None = None
    kind: Name | None = None
    source: Name | None = None
    role: Name | None = None
    rig: Name | None = None
    bead: Name | None = None
    task: Name | None = None
    label: Name | None = None
    session: Annotated[str, Field(min_length=4, max_length=200)] | None = None
    rule: Name | None = None
    """A convention that one of its turns broke."""
    limit: Annotated[int, Field(ge=1, le=1_000_000)] = 20


FilePath = Annotated[str, Field(min_length=1, max_length=4096)]


class CollectParams(Strict):
    """Sessions to collect again: one, those of a bead, or all that are known."""

    session_id: Name | None = None
    bead: Name | None = None
    all: bool = False


class ArtifactsParams(Strict):
    """Documents of the town, or those in a folder; `rig` says whose the files of a folder outside the town are."""

    folder: FilePath | None = None
    rig: Name | None = None


class OperationalParams(Strict):
    """The town's databases (those named, or all), or an export of them in a folder, of the rig that is named."""

    export: FilePath | None = None
    rig: Name | None = None
    databases: Annotated[tuple[Name, ...], Field(max_length=500, strict=False)] = ()


class PrimeParams(Strict):
    """Roles to ask gt's prime for; without one, every role."""

    roles: Annotated[tuple[Name, ...], Field(max_length=50, strict=False)] = ()


class AddParams(Strict):
    """Curated examples: absolute paths of files that the daemon can read."""

    paths: Annotated[tuple[FilePath, ...], Field(min_length=1, max_length=10_000, strict=False)]
    role: Name
    task: Task | None = None
    rig: Name | None = None


class AuditParams(Strict):
    """Scrub what older rules have scrubbed, or everything, with today's."""

    all: bool = False


class DoubtsParams(Strict):
    limit: Annotated[int, Field(ge=1, le=100_000)] = 100


class DoubtParams(Strict):
    """A doubt by the first letters of its digest."""

    digest: Annotated[str, Field(min_length=4, max_length=128)]


class VerdictParams(DoubtParams):
    by: Annotated[str, Field(min_length=1, max_length=200)]


class PurgeParams(Strict):
    entry_id: Annotated[str, Field(min_length=4, max_length=128)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    by: Annotated[str, Field(min_length=1, max_length=200)]


# What verbs answer


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


class CollectProgress(Answer):
    """How far a collection has come; the last one has `finished`. `total` is None while nobody knows."""

    phase: str
    done: int = 0
    total: int | None = None
    stored: int = 0
    unchanged: int = 0
    skipped: int = 0
    withdrawn: int = 0
    note: str = ""
    entries: tuple[str, ...] = ()
    """Of examples that were added: the ids of the first thousand, with the last step."""
    finished: bool = False


class AuditProgress(Answer):
    """How far an audit has come. `hits`: entries that held what today's rules find, and were stored anew."""

    done: int = 0
    total: int = 0
    hits: int = 0
    tainted_snapshots: tuple[str, ...] = ()
    finished: bool = False


class DoubtRow(Answer):
    """A value that was redacted although nobody is sure; `entries` counts those that it stands in."""

    digest: str
    placeholder: str
    kind: str
    rule: str
    entries: int
    entry_id: str
    """The newest of them."""
    raised_at: float


class DoubtsResult(Answer):
    doubts: tuple[DoubtRow, ...] = ()


class PurgeResult(Answer):
    entry_id: str
    tainted_snapshots: tuple[str, ...] = ()


class Looked(Answer):
    """A doubt with its value, as long as its source still exists: for the terminal of who asked."""

    doubt: DoubtRow
    kind: str = "session"
    """Of the newest entry that it stands in: whether its source is a transcript or a document."""
    origin: str = ""
    value: str | None = None
    context: str = ""
    """The line that it stands in, scrubbed."""


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


class EntryRow(Answer):
    """One stored training entry; `path` is its file."""

    entry_id: str
    sha256: str = ""
    kind: str = "session"
    origin: str = ""
    source: str = ""
    role: str
    rig: str | None = None
    bead: str | None = None
    episode: int = 1
    session_id: str | None = None
    actor: str | None = None
    agent: str | None = None
    model: str | None = None
    task: str = "other"
    outcome: str = "unknown"
    confidence: float = 0.0
    failures: tuple[str, ...] = ()
    violations: int = 0
    messages: int = 0
    trainable: int = 0
    redactions: int = 0
    size_bytes: int = 0
    stored_at: float = 0.0
    path: str = ""


class EntriesResult(Answer):
    folder: str = ""
    total: int = 0
    entries: tuple[EntryRow, ...] = ()


class Sums(Answer):
    """What some entries come to; `trainable` counts turns."""

    entries: int = 0
    trainable: int = 0
    messages: int = 0
    violations: int = 0
    redactions: int = 0
    size_bytes: int = 0


class StatsResult(Answer):
    """The corpus in numbers. `by`: a dimension (kind, role, ...), its values, and what each comes to."""

    folder: str = ""
    total: Sums = Sums.model_construct()
    by: dict[str, dict[str, Sums]] = Field(default_factory=dict)
    redactions: dict[str, int] = Field(default_factory=dict)
    masked: dict[str, int] = Field(default_factory=dict)
    """Turns that are not trained on, by the reason."""
    violations: dict[str, int] = Field(default_factory=dict)
    failures: dict[str, int] = Field(default_factory=dict)
    doubts: int = 0
    """Values that nobody has decided about."""
    snapshots: tuple[str, ...] = ()
    """The newest first."""


class LabelsResult(Answer):
    """Closed beads by the class of their close reason and the label that evidence gave them."""

    closed: int = 0
    unlabelled: int = 0
    """Closed beads of which no entry tells."""
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Class of the reason, label, how many."""
    notes: tuple[str, ...] = ()
    """Why a label is another than its reason seems to say."""


class TurnExplained(Answer):
    """One message of an entry. `line`: where it begins in the transcript, from 1, while that is there."""

    message: int
    role: str
    line: int | None = None
    trainable: bool = False
    masked: str | None = None
    violations: tuple[str, ...] = ()
    task: str | None = None


class DoubtExplained(Answer):
    """A span that was redacted although nobody is sure; `verdict` is empty while nobody has decided."""

    digest: str
    placeholder: str
    kind: str
    rule: str
    message: int
    verdict: str = ""


class StaleCommand(Answer):
    """A run of a command that the conventions have left behind."""

    message: int
    command: str
    replacement: str
    since: str | None = None


class InSnapshot(Answer):
    """What one snapshot says about an entry; `reason` is the use that is made of it, or why it is out."""

    snapshot: str
    created_at: float
    is_in: bool
    reason: str
    why: str
    tainted: bool = False


class ExplainResult(Answer):
    """Where an entry comes from, why it is labelled so, and what of it is learned where."""

    entry_id: str
    sha256: str
    kind: str
    origin: str
    source: str
    cut: str = ""
    told_by: str = ""
    """Who told of the session: hook, feed, sweep, ..."""
    transcript: str | None = None
    """What the turns were read from, while it is there."""
    git_head: str | None = None
    label: str
    confidence: float
    facts: tuple[Fact, ...] = ()
    failures: tuple[str, ...] = ()
    conventions: Conventions | None = None
    turns: tuple[TurnExplained, ...] = ()
    redactions: dict[str, int] = Field(default_factory=dict)
    scrubber: str = ""
    audited: str = ""
    """The rules that last found nothing more in it."""
    doubts: tuple[DoubtExplained, ...] = ()
    stale: tuple[StaleCommand, ...] = ()
    snapshots: tuple[InSnapshot, ...] = ()


class PurgedEntry(Answer):
    """What is left of an entry that was purged."""

    entry_id: str
    by: str
    at: float
    reason: str


class EntriesStatus(Answer):
    folder: str = ""
    total: int = 0
    by_role: dict[str, int] = Field(default_factory=dict)
    last: EntryRow | None = None


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


class StatusResult(Answer):
    """The daemon at one glance."""

    version: str
    boot_id: str = ""
    pid: int = 0
    town: str = ""
    state_dir: str = ""
    started_at: float = 0.0
    uptime_s: float = 0.0
    state: Literal["starting", "running", "paused", "draining", "estop", "stopping"] = "running"
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
