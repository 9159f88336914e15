"""gtftctl model rebuild: train a model once more, from what its run was told, and compare the bytes."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.model_names import Model
from gtftd.ctl.model_open import registry_of
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import Invalid, Missing, Refused

if TYPE_CHECKING:
    from gtftd.schemas.registry import ModelEntry
    from gtftd.schemas.training import RunResult, RunSpec

_WEIGHTS = ".safetensors"


def register(app: typer.Typer) -> None:
    app.command()(on_target(rebuild))


def rebuild(
    target: Target,
    name: Model,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what was built in rebuilds/ of the state.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model once more from the description of its run, and compare its weights: exit code 1 when they differ.

    The same bytes come of it on a CPU of the same kind with the same versions. Interrupted, the same command goes on.
    """
    registry = registry_of(target)
    model = registry.model(name)
    registered = _weights(Path(_stored(model)))
    spec, before = _run_of(target.state_dir, model)
    folder = target.state_dir / "rebuilds" / model.name
    _prepare(folder, spec, before)
    if not as_json:
        show.print_line(f"training {model.name} again, {before.steps} steps; it took {before.took_s:.0f} s then")
    result = _train(folder)
    built = _weights(folder / "adapter")
    same = built == registered
    if as_json:
        show.print_json({"model": model.name, "same": same, "registered": registered, "built": built})
    else:
        told = "the same bytes" if same else f"other bytes; loss {result.last_loss:.6g}, then {before.last_loss:.6g}"
        show.print_line(f"{model.name}: {told}")
    if not keep:
        shutil.rmtree(folder)
    if not same:
        raise typer.Exit(1)


def _stored(model: ModelEntry) -> str:
    if model.artifact_path is None:
        raise Refused(f"{model.name} was pruned: there is nothing to compare with")
    return model.artifact_path


def _run_of(state_dir: Path, model: ModelEntry) -> tuple[RunSpec, RunResult]:
    from pydantic import ValidationError

    from gtftd.schemas.training import RunResult, RunSpec

    if model.job is None:
        raise Refused(f"{model.name} was not trained here: it names no job")
    run = state_dir / "runs" / model.job
    try:
        spec = RunSpec.model_validate_json((run / "spec.json").read_bytes())
        return spec, RunResult.model_validate_json((run / "result.json").read_bytes())
    except OSError as error:
        raise Missing(f"the run of {model.name} is gone: {run} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise Invalid(f"{run} is no run that this gtftd understands: {error}") from error


def _prepare(folder: Path, spec: RunSpec, before: RunResult) -> None:
    """As many threads as then: another number adds up in another order. Exports follow from the adapter."""
    from gtftd.state.files import write_atomic

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = spec.settings.model_copy(update={"threads": before.details.get("threads"), "exports": ()})
    again = spec.model_copy(update={"settings": settings})
    write_atomic(folder / "spec.json", again.model_dump_json(indent=1).encode())


def _train(folder: Path) -> RunResult:
    """In a child; Ctrl-C lets it save first."""
    from gtftd.schemas.training import RunResult

    child = subprocess.Popen([sys.executable, "-P", "-m", "gtftd.programs.train", str(folder)], start_new_session=True)
    try:
        child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise
    if not (folder / "result.json").exists():
        raise Refused(f"the training ended with status {child.returncode} and said nothing; see {folder / 'train.log'}")
    result = RunResult.model_validate_json((folder / "result.json").read_bytes())
    if result.status != "done":
        raise Refused(f"the training {result.status}: {result.reason}; see {folder / 'train.log'}")
    return result


def _weights(folder: Path) -> dict[str, str]:
    """The sha256 of each file of weights."""
    return {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.suffix == _WEIGHTS}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
