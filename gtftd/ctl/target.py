"""Which daemon a command speaks to: `--town`, `--state-dir` and `--config` on every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gtftd.ctl.locating import Target, locate_town, resolve, sample_town

__all__ = [
    "ConfigOption",
    "Json",
    "StateOption",
    "Target",
    "TownOption",
    "locate_town",
    "on_target",
    "resolve",
    "sample_town",
]

TownOption = Annotated[Path | None, typer.Option("--town", metavar="DIR", help="The town's root.")]
StateOption = Annotated[Path | None, typer.Option("--state-dir", metavar="DIR", help="The daemon's state.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_OPTIONS = {"town": TownOption, "state_dir": StateOption, "config": ConfigOption}


def on_target(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command whose first parameter is a Target the three options that choose it."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "target"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    choosing = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in _OPTIONS.items()]

    def with_target(*positional: Any, **given: Any) -> None:
        chosen = {name: given.pop(name) for name in _OPTIONS}
        command(resolve(**chosen), *positional, **given)

    parameters = [*(parameter.replace(kind=keyword) for parameter in own), *choosing]
    with_target.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_target.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    with_target.__name__ = command.__name__
    with_target.__doc__ = command.__doc__
    return with_target
