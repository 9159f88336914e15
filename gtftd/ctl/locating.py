"""Which daemon is meant by `--town`, `--state-dir`, `--config`, the environment and the folder; without typer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.errors import Missing
from gtftd.settings import find_socket, peek, state_home
from gtftd.town.layout import Town, find_town

if TYPE_CHECKING:
    from gtftd.control.client import ControlClient


@dataclass(frozen=True)
class Target:
    """One daemon, running or not."""

    town: Path | None
    state_dir: Path
    config: Path | None = None

    def client(self, *, timeout_s: float = 60.0) -> ControlClient:
        from gtftd.control.client import ControlClient

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
