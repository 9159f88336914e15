"""gtftctl run: a daemon and, without a town, a sample town that lives; watched until Ctrl-C."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.live import follow, stopped_by_signals
from gtftd.ctl.target import ConfigOption, StateOption, Target, TownOption, locate_town, resolve, sample_town
from gtftd.errors import GtftdError, Invalid, Missing, NoDaemon, NotReady

START_S = 60.0
END_S = 75.0  # longer than the daemon gives itself: one that is killed leaves its children to end by themselves
_PR_SET_PDEATHSIG = 1


def register(app: typer.Typer) -> None:
    app.command()(run)


def run(
    town: TownOption = None,
    state_dir: StateOption = None,
    config: ConfigOption = None,
    speed: Annotated[float, typer.Option("--speed", min=1, help="Sample town: its seconds in one of ours.")] = 600.0,
    once: Annotated[bool, typer.Option("--once", help="Sample town: one day, then end.")] = False,
) -> None:
    """Run gtftd and watch it: on the town that is found, else on a sample town. Ctrl-C ends everything."""
    with stopped_by_signals() as stop:
        stage = _prepare(town, state_dir, config)
        target = stage.target
        if once and not stage.is_sample:
            raise Invalid(f"--once plays a day of a sample town; {target.town} is a real one")
        with _daemon(target) as daemon, _player(stage, speed, once=once) as player:
            children = [child for child in (player, daemon) if child is not None]
            day = _Day(stage) if once else None
            follow(target, until=lambda: _is_over(stop.is_set(), children, day), note=stage.note)
            for child in children:
                child.note_early_end()
    _say_goodbye(target)
    for child in children:
        if child.failed:
            raise NotReady(f"the {child.name} ended by itself: {child.told()}")


@dataclass(frozen=True)
class Stage:
    """Where it plays."""

    target: Target
    is_sample: bool
    note: str = ""
    days_before: int = 0


def _prepare(town: Path | None, state_dir: Path | None, config: Path | None) -> Stage:
    try:
        root = locate_town(town, config)
    except Missing:
        if town is not None:
            raise
        root = _make_sample()
    from gtftd.ctl.sample import enter_sample

    is_sample = enter_sample(root)
    target = resolve(root, state_dir, config)
    if not is_sample:
        return Stage(target, is_sample, _missing_hooks(target))
    from gtftd.sampletown.truth import load_truth, truth_file
    from gtftd.town import hooks
    from gtftd.town.layout import load_town

    hooks.install(load_town(root), target.state_dir)
    show.print_line(f"no town of your own is used: {root} is a sample town")
    return Stage(target, is_sample, "sample town", load_truth(truth_file(root)).days)


def _make_sample() -> Path:
    from gtftd.sampletown import make_town

    root = sample_town()
    show.print_line(f"no Gas Town found; making a sample town in {root}")
    sys.stdout.flush()
    root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_town(root)
    return root.resolve()


def _missing_hooks(target: Target) -> str:
    """A real town's settings are its owner's: say what is missing, change nothing."""
    from gtftd.town import hooks
    from gtftd.town.layout import load_town

    if not target.state_dir.exists() or not all(
        found.ok for found in hooks.verify(load_town(target.known_town()), target.state_dir)
    ):
        show.print_line("the town's hooks are not installed: closes and sessions are found later, by poll and sweep")
        show.print_line(
            f"  {show.program()} hooks install --town {target.town}   adds them; `hooks uninstall` takes them out"
        )
        return "hooks are not installed"
    return ""


class Child:
    """A process of ours: ended by SIGTERM, by SIGKILL when that takes too long, and when we die."""

    def __init__(self, name: str, command: list[str], output: Path) -> None:
        self.name = name
        self._output = output
        output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on, in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # no other thread runs yet
            )
        self.ended_early = False

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def note_early_end(self) -> None:
        """Call it before `end`: what is gone by now was not asked to go."""
        self.ended_early = not self.is_running

    @property
    def failed(self) -> bool:
        return self.ended_early and self._process.returncode != 0

    def told(self) -> str:
        """How it ended, and its last lines."""
        lines = self._output.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"exit code {self._process.returncode}; {self._output} ends with:", *lines])

    def end(self) -> None:
        if not self.is_running:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _daemon(target: Target) -> Iterator[Child | None]:
    """The daemon, until the block ends; None when one runs already, which is left alone."""
    if _answers(target):
        show.print_line("a gtftd runs for this town already; watching it")
        yield None
        return
    command = [sys.executable, "-P", "-m", "gtftd.programs.daemon", "--no-console"]
    command += ["--town", str(target.known_town()), "--state-dir", str(target.state_dir)]
    command += ["--config", str(target.config)] if target.config else []
    show.print_line(f"starting gtftd for {target.town}")
    sys.stdout.flush()
    child = Child("daemon", command, target.state_dir / "logs" / "daemon.out")
    try:
        _wait_for(target, child)
        yield child
    finally:
        child.end()


def _wait_for(target: Target, child: Child) -> None:
    latest = time.monotonic() + START_S
    while not _answers(target):
        if not child.is_running:
            raise NotReady(f"the daemon did not start: {child.told()}")
        if time.monotonic() > latest:
            raise NotReady(f"the daemon does not answer after {START_S:g} s; see `gtftctl logs`")
        time.sleep(0.05)


def _answers(target: Target) -> bool:
    try:
        target.client(timeout_s=5).call("version")
    except (NoDaemon, GtftdError):
        return False
    return True


@contextlib.contextmanager
def _player(stage: Stage, speed: float, *, once: bool) -> Iterator[Child | None]:
    """The life of a sample town, until the block ends; a real town lives by itself."""
    if not stage.is_sample:
        yield None
        return
    command = [sys.executable, "-P", "-m", "gtftd.programs.player", str(stage.target.town), "--speed", str(speed)]
    child = Child("player", [*command, "--stay" if once else "--loop"], stage.target.state_dir / "logs" / "player.out")
    try:
        yield child
    finally:
        child.end()


class _Day:
    """One day of the sample town: over when it was lived to its end and the daemon has nothing left to do.

    Nothing left means: for as long as the slowest source may take to look again, nothing changed.
    """

    def __init__(self, stage: Stage) -> None:
        from gtftd.sampletown.truth import truth_file
        from gtftd.settings import load_settings

        settings = load_settings(stage.target.config)
        self._stage = stage
        self._truth_file = truth_file(stage.target.known_town())
        self._quiet_s = 2 * settings.beads.poll_s + settings.spool.rescan_s + settings.collection.settle_s
        self._seen: object = None
        self._since = time.monotonic()

    def is_over(self) -> bool:
        from gtftd.sampletown.truth import load_truth

        truth = load_truth(self._truth_file)
        state = self._state() if truth.complete and truth.days > self._stage.days_before else None
        if state is None or state != self._seen:
            self._seen, self._since = state, time.monotonic()
        return state is not None and time.monotonic() - self._since >= self._quiet_s

    def _state(self) -> object:
        """What changes while there is work; None while work is known to wait."""
        from gtftd.schemas.control import StatusResult

        try:
            status = StatusResult.model_validate(self._stage.target.client(timeout_s=5).call("status"))
        except GtftdError:
            return None
        waiting = status.outbox + status.spool_pending
        waiting += sum(reaction.pending + reaction.running for reaction in status.reactions)
        done = tuple((reaction.name, reaction.done, reaction.parked) for reaction in status.reactions)
        return None if waiting else (status.entries.total, done)


def _is_over(stopped: bool, children: list[Child], day: _Day | None) -> bool:
    return stopped or not all(child.is_running for child in children) or (day is not None and day.is_over())


def _say_goodbye(target: Target) -> None:
    from gtftd.control.listing import entries_folder, read_entries
    from gtftd.schemas.corpus_views import EntriesParams

    try:
        total = read_entries(target.state_dir, EntriesParams(limit=1)).total
    except GtftdError:
        total = 0
    show.print_line(f"{total} training entries are in {entries_folder(target.state_dir)}")
    if total:
        show.print_line(
            f"  {show.program()} corpus list --state-dir {target.state_dir}   shows them; `corpus show ENTRY` reads one"
        )
    show.print_line("ended")
