"""Which daemon a command speaks to: `--town`, `--state-dir` and `--config` on every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gtftd.control.client import ControlClient
from gtftd.errors import Missing
from gtftd.settings import find_socket, peek, state_home
from gtftd.town.layout import Town, find_town

TownOption = Annotated[Path | None, typer.Option("--town", metavar="DIR", help="The town's root.")]
StateOption = Annotated[Path | None, typer.Option("--state-dir", metavar="DIR", help="The daemon's state.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_OPTIONS = {"town": TownOption, "state_dir": StateOption, "config": ConfigOption}


@dataclass(frozen=True)
class Target:
    """One daemon, running or not."""

    town: Path | None
    state_dir: Path
    config: Path | None = None

    def client(self, *, timeout_s: float = 60.0) -> ControlClient:
        whom = f"town {self.town}" if self.town else str(self.state_dir)
        return ControlClient(find_socket(self.state_dir), whom=whom, timeout_s=timeout_s)

    def known_town(self) -> Path:
        if self.town is None:
            raise Missing("this command needs the town; give it with --town DIR")
        return self.town


def sample_town() -> Path:
    """Where `gtftctl run` makes a town for those who have none."""
    return state_home() / "sample-town"


def locate_town(named: Path | None, config: Path | None) -> Path:
    """The town that was named, configured or found; the sample town when there is one and no other."""
    try:
        return find_town(named or peek("town", config))
    except Missing:
        if named is None and (sample_town() / "mayor" / "town.json").is_file():
            return sample_town().resolve()
        raise


def resolve(town: Path | None, state_dir: Path | None, config: Path | None) -> Target:
    """Raises Missing when neither a town nor a state directory can be found."""
    if state_dir is not None:
        return Target(town.resolve() if town else None, state_dir.absolute(), config)
    root = locate_town(town, config)
    return Target(root, peek("state_dir", config) or state_home() / Town(root).slug, config)


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
