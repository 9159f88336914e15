"""The control protocol: JSON lines over the daemon's unix socket."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PROTOCOL = 1
MAX_REQUEST_BYTES = 64 * 1024

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


class NoParams(Strict):
    """The verb takes nothing."""
