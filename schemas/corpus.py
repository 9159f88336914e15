"""Training entries, and the facts about them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from gtftd.schemas.event import Event, Frozen, Moment

ENTRY_FORMAT = 1


class ToolCall(Frozen):
    """One call of a tool by the agent; `arguments` are scrubbed JSON values."""

    id: str
    name: str
    arguments: dict[str, Any]


class Message(Frozen):
    """One chat message. `trainable` marks the agent's own words; everything else is context."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    trainable: bool = False
    at: Moment | None = None
    kind: Literal["turn", "meta", "compaction", "hook", "terminal"] = "turn"
    """`meta`: injected by the harness. `compaction`: a summary of what was cut. `terminal`: read off a screen."""


class Outcome(Frozen):
    """What became of the work, how sure we are, and why."""

    label: Literal["merged", "completed", "escalated", "deferred", "failed", "abandoned", "administrative", "unknown"]
    confidence: float = Field(ge=0.0, le=1.0)
    evidence: tuple[str, ...] = ()


class Entry(Frozen):
    """One span of one session: an agent's work on one bead, or a session that had none."""

    format: Literal[1] = 1
    entry_id: str
    """Of the span, not of its text: later evidence stores a new content under the same id."""
    role: str
    rig: str | None = None
    bead: str | None = None
    database: str | None = None
    episode: int = 1
    session_id: str
    run_id: str | None = None
    actor: str | None = None
    agent: str | None = None
    model: str | None = None
    title: str = ""
    issue_type: str | None = None
    cwd: str | None = None
    git_head: str | None = None
    source: Literal["claude-code", "tmux"]
    started_at: Moment | None = None
    ended_at: Moment | None = None
    cut: str
    """How the span was found: which marks in the transcript or which times bound it."""
    outcome: Outcome
    messages: tuple[Message, ...]
    redactions: dict[str, int] = Field(default_factory=dict)
    """How many spans of text were replaced, by kind."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """What was left out because it is not text that we understand, by kind."""
    scrubber: str
    """Version of the scrubbing rules."""


class EntryStored(Event):
    """A training entry exists, or has new content under the same id."""

    subject: ClassVar[str] = "entry.stored"
    entry_id: str
    sha256: str
    role: str
    rig: str | None
    bead: str | None
    session_id: str
    outcome: str
    confidence: float
    messages: int
    redactions: int
    previous_sha256: str | None = None


class EntryWithdrawn(Event):
    """An entry is no more: later evidence gave its text to other entries, or to none."""

    subject: ClassVar[str] = "entry.withdrawn"
    entry_id: str
    sha256: str
    session_id: str


class CollectionSkipped(Event):
    """There was nothing to collect, and why: no entry will come of this unless evidence arrives later."""

    subject: ClassVar[str] = "collection.skipped"
    bead: str | None
    session_id: str | None
    reason: Literal["no_session", "no_transcript", "empty", "not_selected", "switched_off", "unfinished"]
