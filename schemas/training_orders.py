"""What is ordered of training runs, what is kept of them beside their ending, and how they are told of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from gtftd.schemas.corpus import Task
from gtftd.schemas.event import Frozen, Moment
from gtftd.schemas.protocol import Answer
from gtftd.schemas.registry import Kind, ModelName, Series
from gtftd.schemas.training import RunId, TrainSettings

TASKS: tuple[str, ...] = tuple(task for task in get_args(Task) if task not in ("other", "document"))
"""Of which there may be adapters: kinds of work that the corpus tells apart."""
Will = Literal["run", "pause", "stop"]
"""What an operator wants of a run; a stop is for ever."""
Stage = Literal["waiting", "running", "paused", "done", "stopped", "failed"]
"""`waiting`: for a slot, for another try, or for a supervisor."""


class TrainOrder(Frozen):
    """A training, as it is asked for."""

    role: Series
    """Of an adapter for a task: the task."""
    kind: Kind = "role"
    stacked_on: Series | None = None
    """Of an adapter for a task: the role whose model it is for."""
    snapshot: Annotated[str, Field(min_length=1, max_length=100)] = "latest"
    base: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """None: the base of the configuration."""
    parent: Annotated[str, Field(max_length=100)] | None = None
    """A model to begin from, by any of its names."""
    settings: TrainSettings = TrainSettings()
    origins: Mapping[str, str] = Field(default_factory=dict)
    insist: bool = False
    """Although the snapshot is not ready."""
    run: RunId | None = None
    """None: a new one. The same run again is the run as it is."""
    by: Annotated[str, Field(max_length=200)] = ""
    request: Annotated[str, Field(max_length=100)] = ""
    """Of an event; empty for an operator's."""


class RunParams(Frozen):
    """One run."""

    run: RunId
    by: Annotated[str, Field(max_length=200)] = ""


class RunsParams(Frozen):
    """Runs, the newest first."""

    limit: int = Field(default=50, ge=1, le=10_000)


class Wish(Frozen):
    """`wish.json`: what an operator wants of a run; without one it is to run."""

    will: Will
    by: str = ""
    at: Moment


class Life(Frozen):
    """`life.json`: what its supervisors remember of a run."""

    starts: int = 0
    """Since the last new step."""
    oom_kills: int = 0
    """Among them: ended for want of memory."""
    step: int = 0
    """The furthest that was seen at a start."""
    threads: int | None = None
    """As the first start decided: with another number the sums are others."""
    asked: bool = False
    """Since its last start somebody has asked it to stop: that it did is no death."""
    note: str = ""
    """What happened last, for a person."""


class Settled(Frozen):
    """`registered.json`: what came of a run was taken up; nothing more is done about it."""

    model: ModelName | None = None
    why: str = ""
    """Why there is no model."""
    at: Moment


class RunView(Answer):
    """A run as it is now."""

    run: str
    role: str
    kind: Kind = "role"
    objective: str
    stage: Stage
    note: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    held_out_loss: float | None = None
    """The last that was measured."""
    supervised_tokens: int = 0
    tokens_per_s: float = 0.0
    eta_s: float | None = None
    problem: str = ""
    """The newest that did not end it."""
    by: str = ""
    base: str
    snapshot: str
    folder: str
    pid: int | None = None
    model: str | None = None
    created_at: Moment
    seen_at: Moment | None = None
    """Of the last step."""


class RunsResult(Answer):
    runs: tuple[RunView, ...] = ()
