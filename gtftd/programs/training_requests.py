"""What was requested before, and whether one more is too many: so that asking is no way to the host's processor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gtftd.errors import Refused
from gtftd.jobs import RunFolder, read_run
from gtftd.jobs.rundir import all_runs
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunSpec
from gtftd.schemas.training_orders import RunView

_DAY = timedelta(days=1)
_ITS_OWN = ("run", "job", "by", "request", "origins", "created_at")
"""What tells two runs apart that do the same."""


@dataclass(frozen=True)
class Asked:
    """What became of a request."""

    view: RunView
    is_new: bool


def run_of(state_dir: Path, request: str) -> RunView | None:
    """The run that answers it already, whatever it says now."""
    found = next((spec.run for _, spec in _requested(state_dir) if spec.request == request), None)
    return None if found is None else read_run(state_dir, found)


def same_run(state_dir: Path, wanted: RunSpec) -> RunView | None:
    """A run that does the same, and goes on or has come to a model: another one would learn the same."""
    for folder, spec in _requested(state_dir):
        if _effect(spec) == _effect(wanted) and _is_of_use(folder):
            return read_run(state_dir, spec.run)
    return None


def check_room(state_dir: Path, wanted: RunSpec, settings: TrainingSettings, now: datetime) -> None:
    """Raises Refused."""
    known = list(_requested(state_dir))
    begun = sum(now - spec.created_at < _DAY for _, spec in known)
    if begun >= settings.requests_a_day:
        raise Refused(f"{begun} runs were requested within a day, and training.requests_a_day lets no more begin")
    waiting = [spec.run for folder, spec in known if spec.role == wanted.role and folder.settled() is None]
    if len(waiting) >= settings.requests_waiting:
        told = ", ".join(waiting[:5])
        raise Refused(f"{told} for {wanted.role} have not ended, and training.requests_waiting lets no more wait")


def _requested(state_dir: Path) -> Iterator[tuple[RunFolder, RunSpec]]:
    for folder in all_runs(state_dir):
        spec = folder.try_spec()
        if spec is not None and spec.request:
            yield folder, spec


def _is_of_use(folder: RunFolder) -> bool:
    settled = folder.settled()
    return settled is None or settled.model is not None


def _effect(spec: RunSpec) -> dict[str, object]:
    return spec.model_dump(mode="json", exclude=set(_ITS_OWN))
