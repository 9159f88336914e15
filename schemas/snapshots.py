"""Snapshots: what a training run reads. Lines of their files, and the manifest that makes one exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from gtftd.schemas.corpus import Label, Task
from gtftd.schemas.event import Frozen

SNAPSHOT_FORMAT: Literal[1] = 1
Split = Literal["train", "dev", "test"]
Use = Literal["sft", "bad"]
"""`sft`: to follow. `bad`: to avoid; only pairs and KTO read it."""
Reason = Literal[
    "document", "label", "low_confidence", "nothing_supervised", "unreadable", "duplicate", "near_duplicate",
    "contaminated", "outlier", "split_changed", "source_cap", "own_model_cap", "not_selected", "unknown",
]  # fmt: skip
"""Why an entry is out. The last two are only said by `where`: no line is written for them."""
PairKind = Literal["rejected_then_fixed", "resling", "nudged", "interrupted", "estopped"]
GateName = Literal[
    "supervised_tokens", "role_entries", "source_cap", "own_model_cap", "no_test", "eval_items", "nothing",
]  # fmt: skip


class Item(Frozen):
    """One entry that is in: a line of `items.jsonl`, sorted by entry id."""

    entry_id: str
    sha256: str
    use: Use
    role: str
    rig: str | None = None
    bead: str | None = None
    session_id: str | None = None
    task: Task = "other"
    label: Label
    confidence: float
    weight: float
    split: Split
    source: str
    """Who taught it; the caps count by this (docs/decisions/0009-what-a-source-is.md)."""
    own_model: bool = False
    scrubber: str
    supervised_chars: int
    supervised_tokens: int
    """Estimated, a trainer counts its own."""
    windows: int
    stale_turns: tuple[int, ...] = ()
    """Messages that run a command which today's conventions left behind: not to be learned, whatever the entry says."""
    texts: tuple[str, ...] = ()
    """The boilerplate that the content refers to, by sha256."""
    at: float = 0.0
    """When the work ended, Unix time."""
    why: str


class Excluded(Frozen):
    """One entry that was looked at and is out: a line of `excluded.jsonl`."""

    entry_id: str
    sha256: str
    reason: Reason
    why: str


class Range(Frozen):
    """Messages `start` to `stop` (without `stop`) of one entry."""

    entry_id: str
    sha256: str
    start: int
    stop: int


class Pair(Frozen):
    """One preference: a line of `pairs.jsonl`. `weight` is the lesser of both entries'."""

    kind: PairKind
    bead: str | None = None
    split: Split
    prompt: Range
    chosen: Range
    rejected: Range
    weight: float
    why: str


class Unpaired(Frozen):
    """One good or bad completion without a partner: a line of `unpaired.jsonl`, for KTO."""

    label: Literal["good", "bad"]
    split: Split
    prompt: Range
    completion: Range
    weight: float
    why: str


class Selection(Frozen):
    """What was asked for, and which rigs' entries that allowed."""

    role: str | None = None
    rig: str | None = None
    rigs: tuple[str, ...] = ()
    town_level: bool = False
    """Whether entries of agents without a rig were taken."""


class Gate(Frozen):
    """One reason why a snapshot is not ready."""

    gate: GateName
    why: str


class Share(Frozen):
    """What one source, role or model kind has of the supervised tokens in the train split."""

    name: str
    entries: int
    tokens: int
    share: float
    cap: float | None = None


class Outlier(Frozen):
    """Something rare that one source teaches. The text itself stays in the contents: `entry_id`, message."""

    kind: Literal["command", "phrase"]
    name: str
    """The class of the command, or the hash of the phrase."""
    source: str
    entries: int
    of_source: int
    """How many entries that source has."""
    dangerous: int = 0
    """How many of these entries also run a dangerous command."""
    example: str
    """An entry id."""
    excluded: bool = False


class EvalSummary(Frozen):
    """The examination that the entries were compared with."""

    files: int = 0
    items: int = 0
    too_short: int = 0
    """Items of fewer words than can be told apart: only their bead ids count."""
    digest: str = ""
    hits: Mapping[str, int] = Field(default_factory=dict)
    """Entries that were left out, by eval item (`file#number`)."""


class FileSum(Frozen):
    sha256: str
    size_bytes: int
    lines: int


class Manifest(Frozen):
    """What makes a snapshot exist. `id` is the Merkle root over the items and over how they came to be."""

    format: Literal[1] = SNAPSHOT_FORMAT
    id: str
    root: str
    """Over the items alone: entry id, content hash, label, weight, scrubber version, split."""
    created_at: float
    builder: str
    selection: Selection
    settings: str
    """Digest of the settings that bear on the content."""
    conventions: str
    """Digest of the commands that were retired when it was built."""
    newest_at: float
    """The newest work in it: ages and recency count from here, not from the clock."""
    items: int
    by_use: Mapping[str, int] = Field(default_factory=dict)
    by_split: Mapping[str, int] = Field(default_factory=dict)
    by_label: Mapping[str, int] = Field(default_factory=dict)
    excluded: Mapping[str, int] = Field(default_factory=dict)
    supervised_tokens: int = 0
    """Of what is to follow (`sft`) in the train split."""
    windows: int = 0
    pairs: int = 0
    unpaired: int = 0
    roles: tuple[Share, ...] = ()
    sources: tuple[Share, ...] = ()
    """The largest 50."""
    own_models: Share | None = None
    scrubbers: tuple[str, ...] = ()
    outliers: tuple[Outlier, ...] = ()
    evals: EvalSummary = EvalSummary()
    files: Mapping[str, FileSum] = Field(default_factory=dict)
    ready: bool
    reasons: tuple[Gate, ...] = ()


class Taint(Frozen):
    """`tainted.json` beside a manifest: readers refuse this snapshot."""

    at: float
    reason: str
    contents: tuple[str, ...]


class SnapshotRow(Frozen):
    """One snapshot in a list."""

    id: str
    created_at: float
    role: str | None
    rig: str | None
    items: int
    supervised_tokens: int
    pairs: int
    ready: bool
    tainted: bool
    reasons: tuple[str, ...] = ()


class Change(Frozen):
    """What became of an entry between two snapshots; `before` and `after` name the fields that differ."""

    entry_id: str
    before: Mapping[str, str] = Field(default_factory=dict)
    after: Mapping[str, str] = Field(default_factory=dict)
    why: str = ""
    """For an entry that left: the reason for which the later snapshot left it out, if it says."""


class SnapshotDiff(Frozen):
    """From one snapshot to another."""

    a: str
    b: str
    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    changed: tuple[Change, ...] = ()
    same: int = 0


class Whereabouts(Frozen):
    """What one snapshot says about one entry."""

    snapshot: str
    created_at: float
    is_in: bool
    reason: str
    """`sft`, `bad`, or a `Reason`."""
    why: str


class Verification(Frozen):
    """Whether a snapshot is what its id says."""

    id: str
    items: int
    contents: int
    problems: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return not self.problems
