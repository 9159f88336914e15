"""Checkpoints: everything that a run needs to go on, in a folder that exists when its manifest does."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor

from gtftd.errors import Corrupt, NoSpace
from gtftd.logs import get_logger
from gtftd.schemas.event import Frozen
from gtftd.state.crash import crash_point
from gtftd.state.files import fsync_folder, is_full, write_atomic

log = get_logger("training")
KEPT = 2
MANIFEST, STATE, ADAPTER, OPTIMIZER = "manifest.json", "state.json", "adapter.safetensors", "optimizer.safetensors"


class TrainState(Frozen):
    """`state.json`: what is no tensor."""

    step: int = 0
    """Steps of the optimizer behind us."""
    steps: int
    epoch: int = 0
    batch: int = 0
    """With `epoch` the cursor of the batch that comes next."""
    peak_rate: float
    threads: int
    """A sum of floats depends on how many threads share it: who goes on takes the same."""
    random_states: Mapping[str, str] = {}
    first_loss: float | None = None
    last_loss: float | None = None
    held_out_before: float | None = None
    held_out_after: float | None = None
    examples: int = 0
    supervised_tokens: int = 0
    skipped: int = 0
    took_s: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    state: TrainState
    adapter: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


class _Manifest(Frozen):
    """The sha256 of each file."""

    step: int
    files: Mapping[str, str]


class Checkpoints:
    """The folders `step_000400/` of one run; only the process that trains writes here."""

    def __init__(self, folder: Path) -> None:
        """Removes what was not finished."""
        self._folder = folder
        folder.mkdir(exist_ok=True, mode=0o700)
        self._clean()

    def write(self, checkpoint: Checkpoint) -> Path:
        """Make it exist, all or nothing; the newest two stay. Raises NoSpace, and leaves nothing then.

        A second one of the same step is harmless: the first stays.
        """
        path = self._folder / f"step_{checkpoint.state.step:06d}"
        if path.exists():
            return path
        aside = self._folder / f".{path.name}.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            _write_files(aside, checkpoint)
            aside.rename(path)
        except BaseException as error:
            shutil.rmtree(aside, ignore_errors=True)
            if isinstance(error, OSError) and is_full(error):
                raise NoSpace(f"no space left to write {path}; free some disk") from error
            raise
        fsync_folder(self._folder)
        crash_point("checkpoint.renamed")
        self._prune()
        return path

    def newest(self) -> Checkpoint | None:
        """The last one that is whole, read and summed; None when there is none. Later ones are removed: they would
        stand where the next is to be.
        """
        for path in reversed(self._all()):
            try:
                return _read(path)
            except Corrupt as error:
                _remove(path, error)
        return None

    def _all(self) -> list[Path]:
        numbers = {path: path.name.removeprefix("step_") for path in self._folder.glob("step_*")}
        return sorted((path for path in numbers if numbers[path].isdecimal()), key=lambda path: int(numbers[path]))

    def _clean(self) -> None:
        for aside in self._folder.glob(".*.tmp"):
            shutil.rmtree(aside, ignore_errors=True)
        for path in self._all():
            try:
                _read_files(path)
            except Corrupt as error:
                _remove(path, error)

    def _prune(self) -> None:
        """The manifest goes first, so that a kill between two files leaves no folder that looks whole."""
        for path in self._all()[:-KEPT]:
            (path / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path, error: Corrupt) -> None:
    log.warning("checkpoint.removed", checkpoint=path.name, reason=str(error))
    shutil.rmtree(path)


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    folder.mkdir(mode=0o700)
    contents = {
        ADAPTER: save(dict(checkpoint.adapter)),
        OPTIMIZER: save(dict(checkpoint.optimizer)),
        STATE: checkpoint.state.model_dump_json(indent=1).encode(),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content)
    crash_point("checkpoint.written")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = _Manifest(step=checkpoint.state.step, files=sums)
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())


def _read(path: Path) -> Checkpoint:
    contents = _read_files(path)
    return Checkpoint(
        state=TrainState.model_validate_json(contents[STATE]),
        adapter=load(contents[ADAPTER]),
        optimizer=load(contents[OPTIMIZER]),
    )


def _read_files(path: Path) -> dict[str, bytes]:
    """Each file of the checkpoint as it was summed. Raises Corrupt."""
    try:
        manifest = _Manifest.model_validate_json((path / MANIFEST).read_bytes())
        contents = {name: (path / name).read_bytes() for name in (ADAPTER, OPTIMIZER, STATE)}
    except (FileNotFoundError, ValidationError) as error:
        raise Corrupt(f"{path} is no whole checkpoint") from error
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != manifest.files.get(name):
            raise Corrupt(f"{path / name} was changed after it was written")
    return contents
