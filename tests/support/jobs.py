"""Runs on a disk of their own, with a child that only looks like a training."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gtftd.health import Health
from gtftd.jobs.rundir import RunFolder, runs_folder
from gtftd.jobs.supervisor import Supervisor
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunResult, RunSpec, StepLine, TrainSettings
from gtftd.schemas.training_orders import Settled

CHILD = Path(__file__).parent / "training_child.py"
AT = datetime(2026, 11, 22, tzinfo=UTC)
QUICK = TrainingSettings(silent_s=0.5, stop_s=0.5, restart_s=0.01)
PATIENT = TrainingSettings(restart_s=0.01)


def child_program(folder: Path) -> list[str]:
    return [sys.executable, str(CHILD), str(folder)]


def spec(run: str, state: Path, **changed: Any) -> RunSpec:
    given: dict[str, Any] = {
        "run": run, "job": run, "role": "deacon", "base": "/nowhere", "base_name": "tiny", "base_digest": "a" * 64,
        "tokenizer_sha256": "b" * 64, "state_dir": str(state), "snapshot": "c" * 64, "settings": TrainSettings(),
        "created_at": AT,
    }  # fmt: skip
    return RunSpec.model_validate(given | changed)


@dataclass
class Ear:
    """Hears everything, and takes up every ending."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)

    async def waits(self, spec: RunSpec) -> None:
        self.heard.append((spec.run, "waits"))

    async def began(self, spec: RunSpec) -> None:
        self.heard.append((spec.run, "began"))

    async def saved(self, spec: RunSpec, line: StepLine) -> None:
        self.heard.append((spec.run, f"saved {line.step}"))

    async def halted(self, spec: RunSpec, why: str, *, died: bool) -> None:
        self.heard.append((spec.run, f"{'died' if died else 'halted'}: {why}"))

    async def ended(self, spec: RunSpec, result: RunResult, folder: Path) -> Settled:
        if self.fails:
            raise self.fails.pop()
        self.settled.append(spec.run)
        return Settled(why=result.reason, at=AT)

    def of(self, run: str) -> list[str]:
        return [what for whose, what in self.heard if whose == run]


def supervisor(state: Path, settings: TrainingSettings = PATIENT, **changed: Any) -> Supervisor:
    given: dict[str, Any] = {"listener": Ear(), "health": Health(), "program": child_program, "poll_s": 0.02}
    return Supervisor(state, settings, **(given | changed))


def made(state: Path, run: str, **behave: Any) -> RunFolder:
    """A run that is asked for, and how its child is to behave."""
    folder = RunFolder(runs_folder(state) / run)
    folder.create(spec(run, state))
    (folder.path / "behave.json").write_text(json.dumps(behave))
    return folder


async def until(condition: Callable[[], object]) -> None:
    """The test's own timeout ends a wait that never comes true."""
    while not condition():
        await asyncio.sleep(0.01)


def starts(folder: RunFolder) -> list[str]:
    """What each child that came so far noted of itself."""
    file = folder.path / "starts.txt"
    return file.read_text().splitlines() if file.exists() else []
