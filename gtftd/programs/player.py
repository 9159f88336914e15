"""The sample town's life: `python -m gtftd.programs.player TOWN` plays days in it and serves its beads."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from gtftd import logs
from gtftd.errors import GtftdError
from gtftd.sampletown.clock import Stopped
from gtftd.sampletown.database import folder_of
from gtftd.sampletown.player import DAY_HOURS, Player, publish_port
from gtftd.sampletown.standin import StandIn

STOPPED_BY_SIGNAL = 0


def main(arguments: list[str] | None = None) -> int:
    """Exit 0 after the day or when asked to stop, 1 when the town cannot be played."""
    options = _parse(arguments)
    logs.configure(options.log_level, console=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        return _play(options, stop)
    except GtftdError as error:
        print(f"gtftd player: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _play(options: argparse.Namespace, stop: threading.Event) -> int:
    player = Player(options.town, options.seed, stop=stop)
    with StandIn(folder_of(player.town), options.port) as standin:
        player.port = standin.port
        publish_port(player.town, standin.port)
        print(f"player.ready port={standin.port}", flush=True)  # noqa: T201
        pace = None if options.no_pace else options.speed
        try:
            player.play_day(hours=options.hours, pace=pace)
            while options.loop:
                player.play_day(hours=options.hours, pace=pace)
            if options.stay:
                stop.wait()
        except Stopped:
            return STOPPED_BY_SIGNAL
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gtftd-player", description=__doc__)
    parser.add_argument("town", type=Path, help="a sample town; `gtftctl town sample DIR` makes one")
    parser.add_argument("--speed", type=_positive, default=600.0, help="town seconds a real second (default 600)")
    parser.add_argument("--no-pace", action="store_true", help="don't wait at all between steps")
    parser.add_argument("--seed", type=int, default=1, help="what happens; ids and times differ always (default 1)")
    parser.add_argument("--hours", type=_positive, default=DAY_HOURS, help="length of a town day (default 8)")
    parser.add_argument("--port", type=int, default=0, help="port of the stand-in for Dolt, 0 for any (default)")
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))
    days = parser.add_mutually_exclusive_group()
    days.add_argument("--once", action="store_true", help="one day, then exit (default)")
    days.add_argument("--loop", action="store_true", help="new days for ever")
    days.add_argument("--stay", action="store_true", help="one day, then serve the beads until stopped")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
