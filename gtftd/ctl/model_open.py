"""The registry of a state directory, for commands: it needs no daemon, and tells one that runs."""

from __future__ import annotations

import contextlib
import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.ctl.target import Target
from gtftd.errors import GtftdError, Missing

if TYPE_CHECKING:
    from gtftd.registry.registry import Registry


def registry_of(target: Target) -> Registry:
    """Its facts go out with the next start of a daemon, or at once."""
    from gtftd.registry.registry import Registry
    from gtftd.scrub.latest import LatestScrubber
    from gtftd.settings import load_settings
    from gtftd.state.database import migrate
    from gtftd.state.outbox import Encoder
    from gtftd.town.layout import Town

    settings = load_settings(target.config)
    database = target.state_dir / "state.db"
    if not target.state_dir.is_dir():
        raise Missing(f"there is no state in {target.state_dir}; has gtftd ever run here? give it with --state-dir DIR")
    migrate(database)  # the scrubber reads it
    town = target.known_town()
    scrubber = LatestScrubber(town, target.state_dir, lambda: _restored(database))
    encoder = Encoder(
        prefix=settings.bus.prefix, source=f"gtftd/{Town(town).slug}", scrub=scrubber.scrub_value
    )  # fmt: skip
    return Registry.open(target.state_dir, settings.registry.trusted_keys, encoder)


def _restored(database: Path) -> frozenset[str]:
    """Imported when somebody's words must be scrubbed: most decisions have none."""
    from gtftd.corpus.review import read_restored

    return read_restored(database)


def actor() -> str:
    """Who decides: the agent that beads and Gas Town know, else the user."""
    return os.environ.get("BD_ACTOR") or os.environ.get("GT_ROLE") or getpass.getuser()


def tell_daemon(target: Target) -> None:
    """So that it publishes what was decided; a daemon that does not run does it when it starts."""
    with contextlib.suppress(GtftdError):
        target.client(timeout_s=2.0).call("registry.changed")
