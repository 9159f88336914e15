"""Follow a daemon: the live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gtftd.ctl import show
from gtftd.ctl.target import Target
from gtftd.errors import GtftdError

if TYPE_CHECKING:
    from gtftd.ctl.scene import Scene
    from gtftd.schemas.control import HappeningResult, StatusResult
    from gtftd.schemas.corpus_views import EntryRow

FRAME_S = 0.25
POLL_S = 1.0
REPORT_S = 10.0


class Follower:
    """Keeps what a daemon tells: happenings from a thread, status and entries when asked. Outlives its daemon."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._happenings: deque[HappeningResult] = deque(maxlen=200)
        self._unread: deque[HappeningResult] = deque(maxlen=2000)
        self._asked_at = 0.0
        self.status: StatusResult | None = None
        self.entries: tuple[EntryRow, ...] = ()
        self._thread = threading.Thread(target=self._listen, name="gtftctl-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def poll(self) -> None:
        """Ask for status and entries, at most once a second; None when nobody answers."""
        from gtftd.schemas.control import StatusResult
        from gtftd.schemas.corpus_views import EntriesResult

        if time.monotonic() - self._asked_at < POLL_S:
            return
        self._asked_at = time.monotonic()
        client = self._target.client(timeout_s=5)
        try:
            self.status = StatusResult.model_validate(client.call("status"))
            self.entries = EntriesResult.model_validate(client.call("entries", limit=40)).entries
        except GtftdError:
            self.status = None

    def recent(self) -> tuple[HappeningResult, ...]:
        with self._lock:
            return tuple(self._happenings)

    def take_unread(self) -> list[HappeningResult]:
        with self._lock:
            unread = list(self._unread)
            self._unread.clear()
        return unread

    def _listen(self) -> None:
        from gtftd.schemas.control import HappeningResult

        recent = 50
        while True:
            try:
                for item in self._target.client().stream("watch", recent=recent):
                    recent = 0
                    happening = HappeningResult.model_validate(item)
                    with self._lock:
                        self._happenings.append(happening)
                        self._unread.append(happening)
            except GtftdError:
                time.sleep(POLL_S)


def follow(target: Target, *, until: Callable[[], bool], note: str = "") -> Follower:
    """Show what happens until `until()` is true, live on a terminal, as lines elsewhere."""
    follower = Follower(target)
    follower.start()
    if sys.stdout.isatty():
        _follow_live(target, follower, until, note)
    else:
        _follow_plain(follower, until)
    return follower


def follow_until_signal(target: Target) -> None:
    """`gtftctl watch`."""
    with stopped_by_signals() as stop:
        follow(target, until=stop.is_set)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event, and interrupt nothing."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow_live(target: Target, follower: Follower, until: Callable[[], bool], note: str) -> None:
    from rich.console import Console
    from rich.live import Live

    from gtftd.ctl.scene import draw

    console = Console()
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while not until():
            follower.poll()
            live.update(draw(_scene(target, follower, note), *console.size), refresh=True)
            time.sleep(FRAME_S)


def _scene(target: Target, follower: Follower, note: str) -> Scene:
    from gtftd.ctl.scene import Scene

    town = str(target.town or (follower.status.town if follower.status else target.state_dir))
    return Scene(town, follower.status, follower.entries, follower.recent(), note)


def _follow_plain(follower: Follower, until: Callable[[], bool]) -> None:
    reported = time.monotonic()
    while not until():
        follower.poll()
        _print_unread(follower)
        if time.monotonic() - reported > REPORT_S and follower.status:
            reported = time.monotonic()
            show.print_line(summary_of(follower.status))
        sys.stdout.flush()
        time.sleep(FRAME_S)
    _print_unread(follower)
    sys.stdout.flush()


def _print_unread(follower: Follower) -> None:
    from gtftd.ctl.scene import is_news, line_of

    for happening in filter(is_news, follower.take_unread()):
        clock = time.strftime("%H:%M:%S", time.localtime(happening.at))
        show.print_line(f"{clock} {happening.kind:9} {line_of(happening)}")


def summary_of(status: StatusResult) -> str:
    from gtftd.ctl.training_lines import summary

    done = sum(reaction.done for reaction in status.reactions)
    parked = sum(reaction.parked for reaction in status.reactions)
    facts = sum(source.facts for source in status.sources)
    bad = [condition.name for condition in status.health if condition.state == "degraded"]
    trouble = f", degraded: {', '.join(bad)}" if bad else ""
    return (
        f"-- {status.state}: {facts} facts, {done} done, {parked} parked, {status.entries.total} entries"
        f"{summary(status.training)}{trouble}"
    )
