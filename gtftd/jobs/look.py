"""One look at the runs: their files, read once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from gtftd.jobs.decide import Verdict
from gtftd.jobs.endings import Ending
from gtftd.jobs.listing import unended_runs
from gtftd.jobs.rundir import RunFolder
from gtftd.schemas.training import RunResult, RunSpec
from gtftd.schemas.training_orders import Life, Wish

Judge = Callable[[RunSpec], Verdict]


@dataclass(frozen=True)
class Look:
    """One run."""

    folder: RunFolder
    spec: RunSpec
    result: RunResult | None
    wish: Wish | None
    life: Life
    last_step: int
    is_stepping: bool
    """Its child has made steps, and more of them are to come."""
    signs: tuple[int, int]
    verdict: Verdict


@dataclass
class Known:
    """What is remembered of a run between two looks; nothing that must survive."""

    told: bool = False
    saved_step: int = -1
    failures: int = 0
    not_before: float = 0.0
    halted_for: str = ""
    unnoted: tuple[Ending, str] | None = None
    """How its child ended, and why, for which there was no room."""

    def put_off(self, now: float, first_s: float, longest_s: float) -> None:
        """Longer each time."""
        self.not_before = now + min(first_s * 2**self.failures, longest_s)
        self.failures += 1


def look_at(state_dir: Path, only: Collection[str], judge: Judge) -> list[Look]:
    """At each that has not ended, the oldest first."""
    looks = []
    for folder in unended_runs(state_dir):
        if only and folder.name not in only:
            continue
        spec = folder.try_spec()
        if spec is not None and spec.run == folder.name:
            looks.append(_look(folder, spec, judge(spec)))
    return looks


def _look(folder: RunFolder, spec: RunSpec, verdict: Verdict) -> Look:
    line = folder.last_line()
    return Look(
        folder=folder,
        spec=spec,
        result=folder.result(),
        wish=folder.wish(),
        life=folder.life(),
        last_step=line.step if line else 0,
        is_stepping=line is not None and line.step < line.steps and line.at.timestamp() > folder.started_at(),
        signs=folder.signs(),
        verdict=verdict,
    )
