"""Training entries, what became of the work in them, and the facts about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gtftd.schemas.event import Event, Frozen, Moment

ENTRY_FORMAT: Literal[2] = 2
EntryKind = Literal["session", "artifact", "prime", "operational", "interactions", "curated"]
Source = Literal["claude-code", "codex", "opencode", "tmux", "file", "dolt", "export", "gt", "operator"]
Label = Literal[
    "merged", "completed", "escalated", "deferred", "rejected", "reverted", "failed", "abandoned", "administrative",
    "unknown", "collected",
]  # fmt: skip
"""`collected`: a document; nobody worked on it. `reverted`: merged, and taken back within the days that count."""
FailureMode = Literal[
    "timeout", "wrong_branch", "broke_tests", "ignored_conventions", "memory_crash", "skipped_hooks",
    "wrong_dependency_direction",
]  # fmt: skip
Mask = Literal["failed_step", "violation", "interrupted", "injected", "stale", "unanswered"]
Task = Literal[
    "implementation", "bead-creation", "code-review", "git-workflow", "planning", "patrol", "merge-queue",
    "coordination", "triage", "other", "document",
]  # fmt: skip
FactKind = Literal[
    "merged", "merge_rejected", "merge_failed", "commit_on_main", "reverted", "close_reason", "mass_close", "reopened",
    "released", "resling", "requeue", "session_death", "exit_type", "handoff", "escalation", "tests_passed",
    "tests_failed", "nudged", "estopped", "not_closed", "operator", "said",
]  # fmt: skip

GOOD: frozenset[str] = frozenset({"merged", "completed"})
BAD: frozenset[str] = frozenset({"rejected", "reverted", "failed", "abandoned"})

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,40}:[0-9a-f]{4,64}>|<DROPPED:[a-z_]+>")


def unsupervised_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where, in a trainable turn, stands what nobody should learn to write: the scrubber's placeholders."""
    return (match.span() for match in _PLACEHOLDER.finditer(text))


class ToolCall(Frozen):
    """One call of a tool by the agent; `arguments` are scrubbed JSON values."""

    id: str
    name: str
    arguments: dict[str, Any]


class Message(Frozen):
    """One chat message. `trainable`: the agent's own turn, and nothing speaks against learning it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    refs: tuple[str, ...] = ()
    """Instead of `content`: the texts, by sha256, that follow one another here. Boilerplate is stored once."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    trainable: bool = False
    masked: Mask | None = None
    """Why an agent's own turn is not trainable."""
    violations: tuple[str, ...] = ()
    """The conventions that this turn broke, by rule (`gtftd.corpus.conventions`)."""
    task: Task | None = None
    at: Moment | None = None
    kind: Literal["turn", "meta", "compaction", "hook", "terminal"] = "turn"
    """`meta`: injected by the harness. `compaction`: a summary of what was cut. `terminal`: read off a screen."""


class Fact(Frozen):
    """One thing that was seen and bears on the outcome; `detail` is scrubbed and short."""

    kind: FactKind
    detail: str = ""
    at: Moment | None = None


class Outcome(Frozen):
    """What became of the work, how sure we are, and why."""

    label: Label
    confidence: float = Field(ge=0.0, le=1.0)
    evidence: tuple[Fact, ...] = ()
    failures: tuple[FailureMode, ...] = ()

    @property
    def is_good(self) -> bool | None:
        """None: neither an example to follow nor one to avoid."""
        return True if self.label in GOOD else False if self.label in BAD else None


class Conventions(Frozen):
    """What told the agent how to behave when the work began: Merkle hashes, None where nothing is on record."""

    instructions: str | None = None
    """Over CLAUDE.md, AGENTS.md, CONTEXT.md, directives and roles in force for the rig."""
    formulas: str | None = None
    gt_version: str | None = None


class Entry(Frozen):
    """One piece of text with its provenance: a span of a session, or a document."""

    format: Literal[1, 2] = ENTRY_FORMAT
    entry_id: str
    """Of what it was made of, not of its text: later evidence stores a new content under the same id."""
    kind: EntryKind = "session"
    origin: str = ""
    """Where it comes from: `session:<id>`, `file:<path in the town>`, `bead:<database>/<id>`, `file:<sha256>`."""
    role: str
    rig: str | None = None
    bead: str | None = None
    database: str | None = None
    episode: int = 1
    session_id: str | None = None
    run_id: str | None = None
    actor: str | None = None
    agent: str | None = None
    model: str | None = None
    title: str = ""
    issue_type: str | None = None
    task: Task = "other"
    cwd: str | None = None
    git_head: str | None = None
    source: Source
    started_at: Moment | None = None
    ended_at: Moment | None = None
    cut: str = ""
    """How a span was found: which marks in the transcript or which times bound it."""
    outcome: Outcome
    conventions: Conventions | None = None
    messages: tuple[Message, ...]
    redactions: dict[str, int] = Field(default_factory=dict)
    """How many spans of text were replaced, by kind."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """What was left out because it is not text that we understand, by kind."""
    scrubber: str
    """Version of the scrubbing rules."""

    @model_validator(mode="before")
    @classmethod
    def _read_format_1(cls, data: Any) -> Any:
        """Entries of gtftd 0.1.0: evidence was plain sentences, and every entry was of a session."""
        if not isinstance(data, dict) or data.get("format") != 1:
            return data
        outcome = dict(data["outcome"])
        outcome["evidence"] = [{"kind": "said", "detail": text} for text in outcome.get("evidence", ())]
        return data | {"format": ENTRY_FORMAT, "outcome": outcome, "origin": f"session:{data['session_id']}"}


class EntryStored(Event):
    """An entry exists, or has new content under the same id."""

    subject: ClassVar[str] = "entry.stored"
    entry_id: str
    sha256: str
    kind: EntryKind = "session"
    entry_origin: str = ""
    role: str
    rig: str | None
    bead: str | None
    session_id: str | None
    outcome: str
    confidence: float
    messages: int
    redactions: int
    previous_sha256: str | None = None


class EntryWithdrawn(Event):
    """An entry is no more: later evidence gave its text to other entries, its source is gone, or it was purged."""

    subject: ClassVar[str] = "entry.withdrawn"
    entry_id: str
    sha256: str
    session_id: str | None
    kind: EntryKind = "session"
    entry_origin: str = ""


class EntryTainted(Event):
    """Stored text held what the scrubber finds today: whatever was made of this content must not be used."""

    subject: ClassVar[str] = "entry.tainted"
    entry_id: str
    sha256: str
    """The content that must be nowhere any more."""
    kinds: tuple[str, ...]
    reason: Literal["audit", "purge"]
    snapshots: tuple[str, ...] = ()
    """The snapshots that held it."""
    kind: EntryKind = "session"
    entry_origin: str = ""


class CollectionSkipped(Event):
    """There was nothing to collect, and why: no entry will come of this unless evidence arrives later."""

    subject: ClassVar[str] = "collection.skipped"
    bead: str | None
    session_id: str | None
    reason: Literal["no_session", "no_transcript", "empty", "not_selected", "switched_off", "unfinished"]
