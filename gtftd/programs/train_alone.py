"""Runs without a daemon: plans the order on its standard input, or takes a run up, and keeps it until it ends.

Its first line is the answer, a frame of the control protocol. Standard output is closed behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from gtftd import logs
from gtftd.control import wire
from gtftd.corpus.review import read_restored
from gtftd.errors import GtftdError, Invalid
from gtftd.health import Health
from gtftd.jobs import read_run
from gtftd.jobs.alone import supervising
from gtftd.programs.training import Trainings
from gtftd.registry import Registry
from gtftd.schemas.settings import SettingsModel
from gtftd.schemas.training_orders import TrainOrder
from gtftd.scrub.latest import LatestScrubber
from gtftd.settings import load_settings
from gtftd.state.outbox import Encoder
from gtftd.town.estop import EStop
from gtftd.town.layout import load_town

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ends with 0 when the run has ended or is paused, with 1 when it was refused."""
    arguments = _arguments()
    if arguments.with_parent:
        _die_with_parent()
    folder = arguments.state_dir / "logs"
    try:
        folder.mkdir(exist_ok=True, parents=True, mode=0o700)
        logs.configure("info", folder / "train.log", console=False)
        settings = load_settings(arguments.config)
        order = None if arguments.run else TrainOrder.model_validate_json(sys.stdin.buffer.read())
        asyncio.run(_keep(arguments, settings, order))
    except ValidationError as error:
        _answer(wire.failure(1, Invalid(f"the order: {error}")))
        sys.exit(1)
    except (GtftdError, OSError) as error:
        _answer(wire.failure(1, error if isinstance(error, GtftdError) else Invalid(str(error))))
        sys.exit(1)


async def _keep(arguments: argparse.Namespace, settings: SettingsModel, order: TrainOrder | None) -> None:
    """One run, whatever else waits here: that is a daemon's business."""
    state_dir: Path = arguments.state_dir
    registry = _registry(settings, arguments.town, state_dir)
    estop = EStop(arguments.town)
    only: set[str] = set()
    trainings = Trainings(
        state_dir,
        settings.training,
        lambda: registry,
        Health(),
        is_stopped=lambda: estop.active() is not None,
        only=only,
    )
    with supervising(state_dir):
        pass  # Busy before anything is written
    view = await trainings.start(order) if order is not None else read_run(state_dir, arguments.run)
    only.add(view.run)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, trainings.quit)
    _answer(wire.success(1, view.model_dump(mode="json")))
    await trainings.run(until_idle=True)


def _registry(settings: SettingsModel, town: Path, state_dir: Path) -> Registry:
    scrubber = LatestScrubber(town, state_dir, lambda: read_restored(state_dir / "state.db"))
    source = f"gtftd/{load_town(town).slug}"
    encoder = Encoder(prefix=settings.bus.prefix, source=source, scrub=scrubber.scrub_value)
    return Registry.open(state_dir, settings.registry.trusted_keys, encoder)


def _answer(frame: bytes) -> None:
    """Once; who waits for more sees the end."""
    if not sys.stdout.closed:
        sys.stdout.buffer.write(frame)
        sys.stdout.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _die_with_parent() -> None:
    """Whoever started us and is gone cannot see the run any more: it saves and stops."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--town", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--run", help="take this one up instead of an order")
    parser.add_argument("--with-parent", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
