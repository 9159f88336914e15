"""Runs as they are now, read from their folders: no supervisor needs to live."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from gtftd.errors import Refused
from gtftd.jobs.adopt import is_stopped, lock_holder
from gtftd.jobs.marks import make_wish
from gtftd.jobs.rundir import RunFolder, all_runs
from gtftd.schemas.training import RunResult, RunSpec
from gtftd.schemas.training_orders import RunView, Stage, Will, Wish


def read_runs(state_dir: Path, limit: int = 50) -> list[RunView]:
    """The newest first."""
    known = [(folder, spec) for folder in all_runs(state_dir) if (spec := folder.try_spec()) is not None]
    known.sort(key=lambda one: (one[1].created_at, one[1].run), reverse=True)
    return [view(folder, spec) for folder, spec in known[:limit]]


def read_run(state_dir: Path, run: str) -> RunView:
    """By its name or the beginning of one. Raises Missing, Conflict, Corrupt."""
    folder = RunFolder.find(state_dir, run)
    return view(folder, folder.spec())


def unended_runs(state_dir: Path) -> list[RunFolder]:
    """Those of which something is still to be done, in the order in which they were asked for."""
    known = [(folder.try_spec(), folder) for folder in all_runs(state_dir) if not _has_settled(folder)]
    return [folder for spec, folder in sorted(((s, f) for s, f in known if s), key=lambda one: _order(one[0]))]


def _has_settled(folder: RunFolder) -> bool:
    """Read once for each writing of it: the supervisor asks every second, of every run that there ever was."""
    mark = folder.settled_mark()
    return mark is not None and _reads_settled(folder, mark)


@lru_cache(maxsize=100_000)
def _reads_settled(folder: RunFolder, _mark: tuple[int, int, int]) -> bool:
    return folder.settled() is not None


def wish(state_dir: Path, run: str, will: Will, by: str) -> RunView:
    """What an operator wants of a run from now on. Raises Missing, and Refused for a run that has ended."""
    now = read_run(state_dir, run)
    folder = RunFolder(Path(now.folder))
    if folder.settled() is not None or now.stage in ("done", "failed"):
        raise Refused(f"{now.run} has ended: {now.stage}; `gtftctl train` starts another one")
    before = folder.wish()
    if before is not None and before.will == "stop" and will != "stop":
        raise Refused(f"{now.run} is told to stop for good; `gtftctl train` starts another one")
    make_wish(folder, will, by)
    return read_run(state_dir, now.run)


def view(folder: RunFolder, spec: RunSpec) -> RunView:
    pid, result, settled = lock_holder(folder.path), folder.result(), folder.settled()
    lines = list(folder.last_lines())
    last = lines[0] if lines else None
    stage = _stage(pid, result, folder.wish(), is_settled=settled is not None)
    held_out = next((line.held_out_loss for line in lines if line.held_out_loss is not None), None)
    return RunView(
        run=spec.run,
        role=spec.role,
        kind=spec.kind,
        objective=spec.settings.objective,
        stage=stage,
        note=(settled.why if settled else "") or (result.reason if result else "") or _now(folder, pid, stage),
        step=last.step if last else 0,
        steps=last.steps if last else 0,
        loss=last.loss if last else None,
        held_out_loss=held_out,
        supervised_tokens=last.supervised_tokens if last else 0,
        tokens_per_s=last.tokens_per_s if last else 0.0,
        eta_s=last.eta_s if last and stage == "running" else None,
        problem=last.problem if last else "",
        by=spec.by,
        base=spec.base_name,
        snapshot=spec.snapshot,
        folder=str(folder.path),
        pid=pid,
        model=settled.model if settled else None,
        created_at=spec.created_at,
        seen_at=last.at if last else None,
    )


def _now(folder: RunFolder, pid: int | None, stage: Stage) -> str:
    """What it waits for, or what happened last. Looked at, and not read: a full disk keeps no notes."""
    if pid is not None and is_stopped(pid):
        return f"its process is stopped by a signal; `kill -CONT {pid}` has it go on"
    if stage in ("running", "waiting") and not folder.has_room():
        then = "it goes on when there is" if stage == "waiting" else "it goes on without checkpoints until there is"
        return f"no room on the disk; {then}"
    return folder.life().note


def _stage(pid: int | None, result: RunResult | None, wish: Wish | None, *, is_settled: bool) -> Stage:
    if pid is not None:
        return "running"
    if result is not None and (result.status != "stopped" or is_settled):
        return result.status
    return "paused" if wish is not None and wish.will == "pause" else "waiting"


def _order(spec: RunSpec) -> tuple[float, str]:
    return spec.created_at.timestamp(), spec.run
