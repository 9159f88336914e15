"""The runs at one glance: those that have not ended, and the last that has. What has ended is read once."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Corrupt
from gtftd.jobs.listing import view
from gtftd.jobs.rundir import PROGRESS, RunFolder, runs_folder, step_lines
from gtftd.schemas.training import RunSpec, StepLine
from gtftd.schemas.training_orders import RunView

_MOST_NEW_BYTES = 256 * 1024
"""Of a run between two looks; what is more was told while nobody looked, and is passed over."""


@dataclass(frozen=True)
class News:
    """The steps of one run since the look before."""

    run: str
    role: str
    objective: str
    lines: tuple[StepLine, ...]


@dataclass(frozen=True)
class Glance:
    """What there is to see. Steps from before the first look at a run are no news."""

    runs: tuple[RunView, ...] = ()
    """The oldest first: so they get their slots."""
    last: RunView | None = None
    news: tuple[News, ...] = ()


class Board:
    """Looks at a folder of runs again and again; a look costs what is new, not what there is."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = runs_folder(state_dir)
        self._lock = threading.Lock()
        self._specs: dict[str, RunSpec] = {}
        self._ended: dict[str, float] = {}
        """When each was taken up, in Unix seconds."""
        self._last: RunView | None = None
        self._read_bytes: dict[str, int] = {}

    def look(self) -> Glance:
        """In any thread. Raises OSError where the folder cannot be read."""
        with self._lock:
            return self._look()

    def _look(self) -> Glance:
        names = self._names()
        self._forget(names)
        runs, news = [], []
        for name in names - self._ended.keys():
            seen = self._see(RunFolder(self._folder / name))
            if seen is not None:
                runs.append(seen)
            spec = self._specs.get(name)
            if spec is not None and (lines := self._new_lines(name)):
                news.append(News(name, spec.role, spec.settings.objective, lines))
        runs.sort(key=lambda run: (run.created_at, run.run))
        return Glance(tuple(runs), self._last, tuple(news))

    def _names(self) -> set[str]:
        try:
            with os.scandir(self._folder) as found:
                return {entry.name for entry in found if not entry.name.startswith(".") and entry.is_dir()}
        except FileNotFoundError:
            return set()

    def _see(self, folder: RunFolder) -> RunView | None:
        """None for what is no run, and for one that has ended."""
        try:
            spec = self._specs.get(folder.name) or folder.spec()
        except Corrupt:
            return None
        self._specs[folder.name] = spec
        settled = folder.settled()
        if settled is None:
            return view(folder, spec)
        self._ended[folder.name] = settled.at.timestamp()
        if max(self._ended, key=lambda name: self._ended[name]) == folder.name:
            self._last = view(folder, spec)
        return None

    def _forget(self, names: set[str]) -> None:
        """Runs that somebody deleted."""
        gone = (self._ended.keys() | self._specs.keys() | self._read_bytes.keys()) - names
        for known in (self._ended, self._specs, self._read_bytes):
            for name in gone & known.keys():
                del known[name]
        if self._last is not None and self._last.run in gone:
            self._last = None
            newest = max(self._ended, key=lambda name: self._ended[name], default=None)
            if newest is not None:
                del self._ended[newest]  # read again

    def _new_lines(self, name: str) -> tuple[StepLine, ...]:
        path = self._folder / name / PROGRESS
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = self._read_bytes.get(name, size)
                start = start if start <= size <= start + _MOST_NEW_BYTES else size
                file.seek(start)
                told = file.read(size - start)
        except OSError:
            self._read_bytes.setdefault(name, 0)  # it has not begun: nothing of it is to be missed
            return ()
        whole = told[: told.rfind(b"\n") + 1]
        self._read_bytes[name] = start + len(whole)
        return tuple(step_lines(whole.splitlines()))
