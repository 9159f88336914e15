"""The registry: models, what they were made of, how good they are, whom they serve; and its facts on the bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gtftd.schemas.event import Event, Frozen, Moment

Status = Literal[
    "registered", "gated", "held", "canary", "active", "degraded", "archived", "flagged", "tainted",
]  # fmt: skip
"""`registered`: examined by nobody yet. `gated`: passed its examination. `held`: did not, or may not go on yet.
`canary`: serves a part. `active`: serves. `degraded`: serves and does badly. `archived`: served, or will not.
`flagged`: somebody must look at it before it serves again. `tainted`: made of what must not be known; for ever.
"""
JobState = Literal[
    "corpus-validating", "ready", "training", "syncing", "checkpointing", "evaluating", "done", "failed", "degraded",
]  # fmt: skip
Kind = Literal["role", "task"]
"""`role`: what an agent of the role is. `task`: an adapter that is stacked on one."""
Format = Literal["safetensors", "gguf"]
Relation = Literal["base", "tokenizer", "snapshot", "parent", "job", "artifact"]
Action = Literal["deploy", "rollback", "withdraw"]

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*-v[1-9][0-9]{0,5}$", max_length=80)]
"""`mayor-v3`: the series and its version."""
Series = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A sha256 in hex."""
Share = Annotated[float, Field(ge=0, le=1)]


class Score(Frozen):
    """A share of `n` items with its 95 % interval."""

    score: Share
    n: int = Field(ge=1)
    low: Share
    high: Share


class EvalItem(Frozen):
    """One question of an examination, and whether it was answered well."""

    item: str = Field(min_length=1, max_length=200)
    category: str = Field(max_length=64)
    passed: bool


class Evaluation(Frozen):
    """One examination of one model."""

    id: str
    model: ModelName
    suite: str
    at: Moment
    scores: Mapping[str, Score]
    """By category; '' is the whole suite."""
    items: tuple[EvalItem, ...] = ()


class ModelEntry(Frozen):
    """One registered version, as it is now."""

    name: ModelName
    kind: Kind = "role"
    role: Series
    """The role; of a task adapter the task."""
    base_model: str
    base_digest: Digest
    tokenizer_sha256: Digest
    version: int = Field(ge=1)
    corpus_hash: str
    snapshot: str | None = None
    parent: ModelName | None = None
    job: str | None = None
    artifact: Digest
    artifact_path: str | None = None
    """None once it was pruned."""
    examples: int = 0
    dpo_pairs: int = 0
    lora_rank: int | None = None
    lora_adapters: tuple[ModelName, ...] = ()
    """Task adapters that are stacked on it."""
    compatible_with: tuple[str, ...] = ()
    """Of a task adapter: models or roles it may be stacked on; empty: any with the same base."""
    training_config: Mapping[str, Any] = Field(default_factory=dict)
    conventions: Mapping[str, str] = Field(default_factory=dict)
    """Path of each instruction -> sha256 of what it said when the model was trained."""
    gtftd_version: str
    eval_score: Share | None = None
    eval_scores_by_category: Mapping[str, Score] = Field(default_factory=dict)
    deployment_status: Status
    deployed_to: tuple[str, ...] = ()
    """Rigs; `town` for the whole town."""
    aliases: tuple[str, ...] = ()
    trained_at: Moment
    """What was said later it cannot know."""
    created_at: Moment


class Candidate(Frozen):
    """What somebody asks to be registered, and what the artifact's manifest says of it. Its version is given to it."""

    kind: Kind = "role"
    role: Series
    base_model: str = Field(min_length=1, max_length=200)
    base_digest: Digest
    tokenizer_sha256: Digest
    corpus_hash: str = Field(max_length=200)
    snapshot: str | None = None
    parent: ModelName | None = None
    job: str | None = None
    examples: int = Field(0, ge=0)
    dpo_pairs: int = Field(0, ge=0)
    lora_rank: int | None = Field(None, ge=1)
    lora_adapters: tuple[ModelName, ...] = ()
    compatible_with: tuple[str, ...] = ()
    training_config: Mapping[str, Any] = Field(default_factory=dict)
    conventions: Mapping[str, str] = Field(default_factory=dict)
    trained_at: Moment


class Transition(Frozen):
    """One change of a model's status."""

    model: ModelName
    previous: Status | None
    status: Status
    by: str
    why: str
    at: Moment


class Deployment(Frozen):
    """One decision of whom a model serves. `model` None: none of ours, the town's own agent."""

    id: str
    action: Action
    role: Series
    rig: str | None = None
    model: ModelName | None
    previous: ModelName | None
    by: str
    why: str
    at: Moment


class TrainingJob(Frozen):
    """One training, from its corpus to its model."""

    id: str
    kind: Kind = "role"
    role: Series
    objective: str
    state: JobState
    snapshot: str | None = None
    model: ModelName | None = None
    bead: str | None = None
    corpus_bead: str | None = None
    config: Mapping[str, Any] = Field(default_factory=dict)
    note: str = ""
    created_at: Moment
    updated_at: Moment
    ended_at: Moment | None = None


class Preference(Frozen):
    """One pair for DPO, as a snapshot holds it: by whose contents, never the contents."""

    id: str
    kind: str
    role: str
    rig: str | None = None
    bead: str | None = None
    snapshot: str
    chosen_sha256: Digest
    rejected_sha256: Digest
    weight: float
    why: str
    created_at: Moment


class ModelRegistered(Event):
    """A version exists, with its artifact."""

    subject: ClassVar[str] = "model.registered"
    model: ModelName
    role: str
    kind: Kind
    artifact: Digest
    by: str


class ModelChanged(Event):
    """A model's status changed."""

    subject: ClassVar[str] = "model.changed"
    free_text: ClassVar[tuple[str, ...]] = ("why",)
    model: ModelName
    previous: Status | None
    status: Status
    by: str
    why: str


class ModelEvaluated(Event):
    """A model was examined."""

    subject: ClassVar[str] = "model.evaluated"
    model: ModelName
    evaluation: str
    suite: str
    score: Share
    n: int


class DeploymentDecided(Event):
    """Somebody decided which model serves a role, in a rig or in the whole town. Acting on it is another's work."""

    subject: ClassVar[str] = "deployment.decided"
    free_text: ClassVar[tuple[str, ...]] = ("why",)
    deployment: str
    action: Action
    role: str
    rig: str | None
    model: ModelName | None
    previous: ModelName | None
    by: str
    why: str


class ArtifactPruned(Event):
    """The bytes of a model are gone; what it was stays known."""

    subject: ClassVar[str] = "artifact.pruned"
    model: ModelName
    artifact: Digest
    freed_bytes: int
    by: str


class TrainingJobChanged(Event):
    """A training job came into a state."""

    subject: ClassVar[str] = "training_job.changed"
    free_text: ClassVar[tuple[str, ...]] = ("note",)
    job: str
    role: str
    previous: JobState | None
    state: JobState
    model: ModelName | None = None
    note: str = ""
