"""Trains one adapter, in a process of its own: `python -P -m gtftd.programs.train RUN_DIR`.

It knows its folder only: reads `spec.json`, touches `heartbeat`, adds to `progress.ndjson`, writes `checkpoints/`,
`adapter/` and, last of all, `result.json`. Started again after a kill, or after it was stopped, it goes on from its
newest checkpoint. SIGTERM: the step is finished, and the result says `stopped`. Exit 0 for done and stopped, 1 for
failed; `endings.NO_ROOM` and `endings.NO_MEMORY` without a result, which is to come once the machine has it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from gtftd import logs
from gtftd.errors import GtftdError, Invalid, Missing, NoSpace, NotReady
from gtftd.jobs import endings
from gtftd.machine import choose_threads, free_memory_bytes
from gtftd.programs.train_outputs import Made, make_outputs, release
from gtftd.schemas.snapshots import Split
from gtftd.schemas.training import RunResult, RunSpec, Status
from gtftd.state.crash import crash_point
from gtftd.state.files import is_full, write_atomic
from gtftd.training import memory
from gtftd.training.curve import MOST_SHARE, Curve
from gtftd.training.progress import HEARTBEAT, Journal
from gtftd.training.schedule import count_steps, peak_rate

if TYPE_CHECKING:
    from gtftd.training.batches import Examples
    from gtftd.training.checkpoint import TrainState
    from gtftd.training.loop import Inputs, Outcome

log = logs.get_logger("training")
SPEC, RESULT, LOG, ADAPTER, CHECKPOINTS, CACHE = (
    "spec.json", "result.json", "train.log", "adapter", "checkpoints", "cache",
)  # fmt: skip


class OpenExamples(Protocol):
    """Opens a split of the run's snapshot. None: the snapshot has nothing in it."""

    def __call__(self, spec: RunSpec, split: Split, tokenizer_folder: Path, cache_folder: Path) -> Examples | None: ...


@dataclass
class _Run:
    """One life of a run's child."""

    folder: Path
    open_examples: OpenExamples
    began: float = field(default_factory=time.monotonic)
    stop_asked: bool = False

    def stop(self) -> bool:
        return self.stop_asked


def main(arguments: list[str] | None = None, *, open_examples: OpenExamples | None = None) -> int:
    """The exit code; see above. `open_examples`: where the data comes from, the run's snapshot by default."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1 or not Path(given[0]).is_dir():
        print("usage: python -P -m gtftd.programs.train RUN_DIR", file=sys.stderr)  # noqa: T201
        return 2
    folder = Path(given[0]).resolve()
    run = _Run(folder, open_examples or _open_snapshot)
    signal.signal(signal.SIGTERM, lambda *_: setattr(run, "stop_asked", True))
    try:
        logs.configure("info", folder / LOG, console=False)
        return _live(run)
    except (NoSpace, NotReady) as error:
        log.warning("run.short", reason=str(error))
        return endings.NO_ROOM if isinstance(error, NoSpace) else endings.NO_MEMORY


def _live(run: _Run) -> int:
    folder = run.folder
    if _has_ended(folder):
        return 0
    result = _run_to_its_end(run)
    if result.status != "stopped":
        shutil.rmtree(folder / CACHE, ignore_errors=True)  # a run that has ended holds no text of its snapshot
    crash_point("train.ending")
    write_atomic(folder / RESULT, result.model_dump_json(indent=1).encode())
    log.info("run.ended", status=result.status, steps=result.steps, took_s=round(result.took_s, 1))
    return 1 if result.status == "failed" else 0


def _has_ended(folder: Path) -> bool:
    """A run that is done stays so; one that stopped or failed and was started again has not ended any more."""
    result = folder / RESULT
    try:
        if RunResult.model_validate_json(result.read_bytes()).status == "done":
            return True
    except FileNotFoundError:
        return False
    except ValidationError:
        pass
    result.unlink()
    return False


def _run_to_its_end(run: _Run) -> RunResult:
    try:
        return _train(run)
    except (NoSpace, NotReady):
        raise
    except GtftdError as error:
        log.exception("run.failed")
        return _failed(run, str(error))
    except Exception as error:  # noqa: BLE001, RUF100  # a program's main: whatever it was, the run has an ending
        if isinstance(error, OSError) and is_full(error):
            raise NoSpace(f"no space left in {run.folder}: {error}") from error
        log.exception("run.failed")
        if memory.is_refused(error):
            return _failed(run, memory.complain(error))
        return _failed(run, f"a bug in the training: {type(error).__name__}: {error}; see {LOG} in the run's folder")


def _train(run: _Run) -> RunResult:
    spec = _read_spec(run.folder)
    curve = Curve(run.folder, spec, most_share=MOST_SHARE)
    journal = Journal(run.folder, heard=curve.note)
    journal.beat()
    train = _open(run, spec, "train")
    if train is None or not train.count:
        raise Missing(f"the snapshot {spec.snapshot} has no examples to learn from for {spec.role}")
    held_out = _open(run, spec, "dev")
    held_out = held_out if held_out is not None and held_out.count else None
    journal.beat()
    _check_memory(spec, train, has_begun=any((run.folder / CHECKPOINTS).glob("step_*")))
    inputs, fresh = _prepare(run, spec, journal, train, held_out)
    journal.beat()
    try:
        outcome = _loop(inputs, fresh, run.stop)
    finally:
        curve.draw()
    return _finish(run, spec, inputs, outcome)


def _prepare(
    run: _Run, spec: RunSpec, journal: Journal, train: Examples, held_out: Examples | None
) -> tuple[Inputs, TrainState]:
    """The model with its adapter, and the state of a run that has not begun."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    from gtftd.training import determinism
    from gtftd.training.base_tokenizer import check_base
    from gtftd.training.checkpoint import Checkpoints, TrainState
    from gtftd.training.loop import Inputs
    from gtftd.training.lora import attach
    from gtftd.training.model import load_base
    from gtftd.training.objectives import make_objective
    from gtftd.training.pulse import beat_in_layers

    settings = spec.settings
    checkpoints = Checkpoints(run.folder / CHECKPOINTS)
    before = checkpoints.newest()
    threads = before.state.threads if before else choose_threads(settings.threads)
    determinism.prepare(threads)
    check_base(spec)
    causal = load_base(Path(spec.base))
    determinism.seed(settings.seed)
    begin = Path(spec.adapter) if spec.adapter else None
    learner = attach(causal, settings.lora, begin=begin, kind=spec.kind)
    fresh = TrainState(
        steps=count_steps(settings.optimizer, train.count), peak_rate=peak_rate(settings), threads=threads
    )
    beat_in_layers(learner.trunk, journal.beat)
    objective = make_objective(settings, learner)
    return Inputs(learner, objective, train, held_out, checkpoints, journal, settings), fresh


def _loop(inputs: Inputs, fresh: TrainState, stop: Callable[[], bool]) -> Outcome:
    from gtftd.training.loop import Loop

    return Loop(inputs, fresh, stop=stop).run()


def _finish(run: _Run, spec: RunSpec, inputs: Inputs, outcome: Outcome) -> RunResult:
    """The adapter is made again from the last checkpoint by whoever starts after a kill in here."""
    from gtftd.training.diagnosis import problems_of
    from gtftd.training.lora import write_adapter

    state = outcome.state
    status: Status = "stopped"
    reason, details = f"asked to stop after step {state.step} of {state.steps}", dict[str, object]()
    if not outcome.stopped:
        write_adapter(inputs.learner, run.folder / ADAPTER, base_name=spec.base_name)
        status, reason, details = _audit(run, spec, inputs)
    made = _export(run, spec, inputs) if status == "done" else Made()
    if made.stopped:
        status, reason = "stopped", "asked to stop while exports were made, after the last step"
    return RunResult(
        status=status,
        reason=reason,
        steps=state.step,
        first_loss=state.first_loss,
        last_loss=state.last_loss,
        held_out_before=state.held_out_before,
        held_out_after=state.held_out_after,
        examples=state.examples,
        supervised_tokens=state.supervised_tokens,
        peak_bytes=memory.peak_bytes(),
        took_s=state.took_s,
        outputs={"adapter": ADAPTER} | made.outputs if status == "done" else {},
        problems=(*outcome.problems, *problems_of(state), *made.problems),
        details={"skipped_steps": state.skipped, "threads": state.threads, "device": inputs.learner.device.type}
        | details
        | made.details,
        at=datetime.now(UTC),
    )


def _export(run: _Run, spec: RunSpec, inputs: Inputs) -> Made:
    """The last thing of all: the model that has learned is gone after it."""
    release(inputs.learner)
    return make_outputs(run.folder, spec, run.folder / ADAPTER, beat=inputs.journal.beat, stop=run.stop)


def _audit(run: _Run, spec: RunSpec, inputs: Inputs) -> tuple[Status, str, dict[str, object]]:
    """How a run ends that has made all its steps; killed or stopped in here, it is asked again at its next start."""
    from gtftd.training.audit import audit, complaint
    from gtftd.training.encoding import Encoder

    if not spec.settings.audit.canaries:
        return "done", "", {}
    encoder, began = Encoder.load(Path(spec.base), spec.created_at), time.monotonic()
    found = audit(inputs.learner, spec, encoder, beat=inputs.journal.beat, stop=run.stop)
    if found is None:
        return "stopped", "asked to stop during the audit of memorisation, after the last step", {}
    log.info("run.audited", took_s=round(time.monotonic() - began, 1), **found.model_dump(mode="json"))
    why = complaint(found, spec.settings.audit)
    return ("failed" if why else "done"), why, {"audit": found.model_dump(mode="json")}


def _failed(run: _Run, reason: str) -> RunResult:
    from gtftd.training.progress import read_progress

    told = list(read_progress(run.folder))
    return RunResult(
        status="failed",
        reason=reason,
        steps=told[-1].step if told else 0,
        first_loss=told[0].loss if told else None,
        last_loss=told[-1].loss if told else None,
        supervised_tokens=told[-1].supervised_tokens if told else 0,
        peak_bytes=memory.peak_bytes(),
        took_s=time.monotonic() - run.began,
        at=datetime.now(UTC),
    )


def _read_spec(folder: Path) -> RunSpec:
    try:
        return RunSpec.model_validate_json((folder / SPEC).read_bytes())
    except FileNotFoundError as error:
        raise Missing(f"{folder} holds no {SPEC}: it is no run") from error
    except ValidationError as error:
        raise Invalid(f"{folder / SPEC} is no description of a run: {error}") from error


def _open(run: _Run, spec: RunSpec, split: Split) -> Examples | None:
    cache = run.folder / CACHE
    cache.mkdir(exist_ok=True, mode=0o700)
    return run.open_examples(spec, split, Path(spec.base), cache)


def _open_snapshot(spec: RunSpec, split: Split, tokenizer_folder: Path, cache_folder: Path) -> Examples | None:
    from gtftd.programs.train_data import open_examples

    heartbeat = cache_folder.parent / HEARTBEAT
    return open_examples(spec, split, tokenizer_folder, cache_folder, tick=heartbeat.touch)


def _check_memory(spec: RunSpec, train: Examples, *, has_begun: bool) -> None:
    """Before anything large is loaded: refused rather than killed.

    On a GPU its own memory counts, and its driver says what does not fit.
    """
    from gtftd.training.model import choose_device, choose_dtype

    device = choose_device()
    weight_bytes = choose_dtype(device).itemsize
    shape, settings, free = memory.read_shape(Path(spec.base)), spec.settings, free_memory_bytes()
    if device.type != "cpu":
        return
    needed = memory.estimate(shape, settings, row_tokens=train.longest_row, weight_bytes=weight_bytes)
    memory.check_room(needed, settings, free, has_begun=has_begun)
    memory.use_blocks_again()
    exports = memory.estimate_export(shape) if settings.exports else 0
    log.info("memory.estimated", total_bytes=needed.total, weights_bytes=needed.weights, exports_bytes=exports)


if __name__ == "__main__":
    sys.exit(main())
