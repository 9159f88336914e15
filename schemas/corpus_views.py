"""What is told of the corpus: its entries, what they come to, and where one came from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gtftd.schemas.corpus import Conventions, Fact
from gtftd.schemas.protocol import Answer, Name, Strict


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


class EntriesStatus(Answer):
    folder: str = ""
    total: int = 0
    by_role: dict[str, int] = Field(default_factory=dict)
    last: EntryRow | None = None


class PurgedEntry(Answer):
    """What is left of an entry that was purged."""

    entry_id: str
    by: str
    at: float
    reason: str


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
