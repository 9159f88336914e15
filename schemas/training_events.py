"""Trainings that are asked for by an event, and what became of the asking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from gtftd.schemas.event import Event
from gtftd.schemas.registry import Series
from gtftd.schemas.town import TownEvent
from gtftd.schemas.training import Objective, RunId

_Text = Annotated[str, StringConstraints(max_length=200)]
_Value = bool | int | float | _Text | tuple[_Text, ...] | None
_Key = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40})?$")]


class TrainingRequested(TownEvent):
    """Somebody asks for a training on this host. Nothing in it is a path; what it may ask for, `[training]` says."""

    subject: ClassVar[str] = "training.requested"
    free_text: ClassVar[tuple[str, ...]] = ("reason",)
    role: Series | None = None
    """Whose model; with `task` too, the role on whose model the task's adapter is stacked."""
    task: Series | None = None
    snapshot: str = Field(default="latest", pattern=r"^(latest|[0-9a-f]{4,64})$")
    """Its id, or the first letters of it."""
    base: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """As `gtftctl base list` calls it. None: the base of the configuration."""
    objective: Objective | None = None
    settings: Mapping[_Key, _Value | Mapping[_Key, _Value]] = Field(default_factory=dict, max_length=50)
    """`{"optimizer.epochs": 2}`, or `{"optimizer": {"epochs": 2}}`."""
    parent: str | None = Field(default=None, pattern=r"^[a-z0-9@-]{1,100}$")
    """A model to begin from, by any of its names."""
    insist: bool = False
    """Although the snapshot is not ready."""
    request: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9._:-]{1,100}$")
    """A name of the asker's own: the same again is the same request, whatever else it says."""
    by: str = Field(default="", max_length=100, pattern=r"^[\w@./: -]*$")
    reason: str = Field(default="", max_length=500)


class TrainingAccepted(Event):
    """A request is a run: a new one, or one that does the same already."""

    subject: ClassVar[str] = "training.accepted"
    run: RunId
    role: str
    kind: Literal["role", "task"]
    snapshot: str
    is_new: bool
    by: str = ""


class TrainingRefused(Event):
    """A request that can never be a run, as things stand."""

    subject: ClassVar[str] = "training.refused"
    free_text: ClassVar[tuple[str, ...]] = ("why",)
    role: str | None
    task: str | None
    why: str
    by: str = ""
