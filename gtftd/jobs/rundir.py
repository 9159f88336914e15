"""The folder of one run: all that a child and its supervisors share. What another wrote is never trusted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gtftd.errors import Conflict, Corrupt, Missing
from gtftd.schemas.training import RunResult, RunSpec, StepLine
from gtftd.schemas.training_orders import Life, Settled, Wish
from gtftd.state.files import fsync_folder, has_room, write_atomic

FOLDER = "runs"
SPEC, RESULT, WISH, LIFE, SETTLED = "spec.json", "result.json", "wish.json", "life.json", "registered.json"
HEARTBEAT, PROGRESS, LOG = "heartbeat", "progress.ndjson", "run.log"
WHO = "pid.json"
_MARGIN_BYTES = 1024**2
_MOST_BYTES = 4 * 1024**2
_TAIL_BYTES = 64 * 1024
Shape = TypeVar("Shape", bound=BaseModel)


def runs_folder(state_dir: Path) -> Path:
    return state_dir / FOLDER


@dataclass(frozen=True)
class RunFolder:
    """Readers answer None for a file that is not there, or that nobody can read; a run exists when its spec does."""

    path: Path

    @classmethod
    def find(cls, state_dir: Path, run: str) -> RunFolder:
        """By its name or the beginning of one. Raises Missing, and Conflict where several begin so."""
        names = [one.path.name for one in all_runs(state_dir)]
        found = [name for name in names if name == run] or [name for name in names if run and name.startswith(run)]
        if not found:
            raise Missing(f"no run begins with {run!r}; `gtftctl train list` shows them")
        if len(found) > 1:
            raise Conflict(f"{len(found)} runs begin with {run!r}: {', '.join(sorted(found)[:5])}; give more of it")
        return cls(runs_folder(state_dir) / found[0])

    @property
    def name(self) -> str:
        return self.path.name

    def create(self, spec: RunSpec) -> None:
        """Once. The same run again is harmless; another one of its name is a Conflict."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        fsync_folder(self.path.parent)
        known = self.try_spec()
        if known is None:
            write_atomic(self.path / SPEC, spec.model_dump_json(indent=1).encode())
        elif known.model_copy(update={"created_at": spec.created_at}) != spec:
            raise Conflict(f"the run {spec.run} is there already and asks for something else; give another name")

    def spec(self) -> RunSpec:
        """Raises Corrupt."""
        spec = self.try_spec()
        if spec is None or spec.run != self.name:
            raise Corrupt(f"{self.path / SPEC} is not what was written; delete the folder, and train again")
        return spec

    def try_spec(self) -> RunSpec | None:
        return self._read(SPEC, RunSpec)

    def result(self) -> RunResult | None:
        """What cannot be read is a failure that says so: the run has ended all the same."""
        if not (self.path / RESULT).exists():
            return None
        found = self._read(RESULT, RunResult)
        if found is not None:
            return found
        why = f"{RESULT} cannot be read; {LOG} tells what happened"
        return RunResult(status="failed", reason=why, steps=self.last_step(), at=datetime.now(UTC))

    def write_result(self, result: RunResult) -> None:
        write_atomic(self.path / RESULT, result.model_dump_json(indent=1).encode())

    def discard_result(self) -> None:
        """Of a run that stopped for a while."""
        (self.path / RESULT).rename(self.path / f"stopped.{RESULT}")
        fsync_folder(self.path)

    def wish(self) -> Wish | None:
        return self._read(WISH, Wish)

    def write_wish(self, wish: Wish) -> None:
        write_atomic(self.path / WISH, wish.model_dump_json().encode())

    def life(self) -> Life:
        return self._read(LIFE, Life) or Life()

    def write_life(self, life: Life) -> None:
        write_atomic(self.path / LIFE, life.model_dump_json().encode())

    def settled(self) -> Settled | None:
        return self._read(SETTLED, Settled)

    def settled_mark(self) -> tuple[int, int, int] | None:
        """Differs after each writing of that; None where it was not written."""
        try:
            status = (self.path / SETTLED).stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def write_settled(self, settled: Settled) -> None:
        write_atomic(self.path / SETTLED, settled.model_dump_json().encode())

    def started_at(self) -> float:
        """When its last child began, in Unix seconds."""
        return _mtime_ns(self.path / WHO) / 1e9

    def has_room(self) -> bool:
        """For another checkpoint beside those that are there, and for what is told meanwhile. Who may not write here,
        or finds the folder gone, is not told that it is full.
        """
        try:
            newest = max(self.path.glob("checkpoints/step_*"), default=None)
            sizes = (_size(path) for path in newest.iterdir()) if newest else ()
            return has_room(self.path, sum(sizes) + _MARGIN_BYTES)
        except OSError:
            return True

    def signs(self) -> tuple[int, int]:
        """Differs from look to look while the child gives signs of life."""
        return _mtime_ns(self.path / HEARTBEAT), _size(self.path / PROGRESS)

    def last_lines(self) -> Iterator[StepLine]:
        """The newest first, as far as a reader of one screen goes; what is no line of ours is passed over."""
        return step_lines(reversed(_tail(self.path / PROGRESS).splitlines()))

    def last_line(self) -> StepLine | None:
        return next(self.last_lines(), None)

    def last_step(self) -> int:
        line = self.last_line()
        return line.step if line else 0

    def log_tail(self, lines: int = 5) -> str:
        """The last words of the child, for a diagnosis."""
        return "\n".join(_tail(self.path / LOG, 8192).decode("utf-8", "replace").splitlines()[-lines:])

    def _read(self, name: str, shape: type[Shape]) -> Shape | None:
        try:
            with (self.path / name).open("rb") as file:
                return shape.model_validate_json(file.read(_MOST_BYTES))
        except (OSError, ValidationError):
            return None


def step_lines(lines: Iterable[bytes]) -> Iterator[StepLine]:
    """What is no line of ours is passed over."""
    for line in lines:
        try:
            yield StepLine.model_validate_json(line)
        except ValidationError:
            continue


def all_runs(state_dir: Path) -> list[RunFolder]:
    """Every folder with a spec, by name."""
    found = sorted(runs_folder(state_dir).glob(f"*/{SPEC}"))
    return [RunFolder(path.parent) for path in found if not path.parent.name.startswith(".")]


def _tail(path: Path, size: int = _TAIL_BYTES) -> bytes:
    """Whole lines; what stands before them may be cut."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size)
    except OSError:
        return b""


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
