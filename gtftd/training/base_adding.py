"""Adding a base by a child, which may load what we must not: slowly, on one thread, without the network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from gtftd import errors
from gtftd.errors import GtftdError, Invalid, Missing, NonRetriable, NotReady
from gtftd.training.base_source import find_source
from gtftd.training.bases import BaseSource, BaseStore

PROGRAM = "gtftd.programs.base"
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}  # fmt: skip
_CLASSES = ("Invalid", "Missing", "Refused", "Corrupt", "Conflict", "NoSpace")


def ensure_base(state_dir: Path, name: str) -> None:
    """A base that comes with a package is converted at its first use; of any other `Missing` says what to do."""
    store = BaseStore(state_dir)
    if name in store.names():
        return
    try:
        source = find_source(name, None)
    except (NonRetriable, NotReady) as error:
        raise Missing(f"there is no base {name!r} here: {error}") from error
    store.add(name, source, add_in_child)


def add_in_child(name: str, source: BaseSource, cache: Path, *, any_family: bool = False) -> str:
    """The digest of the base. Raises what the child found wrong, in its words."""
    command = [sys.executable, "-P", "-m", PROGRAM, name, str(cache), *(["--any-family"] if any_family else [])]
    ended = subprocess.run(
        command, input=source.model_dump_json(), capture_output=True, text=True, check=False,
        env={**os.environ, **_ENVIRONMENT},
    )  # fmt: skip
    if ended.returncode < 0:
        raise _killed(-ended.returncode, source)
    try:
        told = json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise _broken(ended.stderr) from error
    if "error" in told:
        kind = getattr(errors, told["error"]) if told["error"] in _CLASSES else Invalid
        raise kind(told["message"])
    return str(told["digest"])


def _killed(number: int, source: BaseSource) -> GtftdError:
    why = signal.Signals(number).name if number in {*map(int, signal.Signals)} else str(number)
    hint = "; the kernel does that when memory is short: free some" if number == signal.SIGKILL else ""
    return NonRetriable(f"the process that added {source.path} was ended by {why}{hint}; nothing was added")


def _broken(stderr: str) -> GtftdError:
    last = (stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
    if last.startswith(("ModuleNotFoundError", "ImportError")):
        return NonRetriable(f"the model stack is not installed ({last}); run `pip install 'gtftd[train]'`")
    return NonRetriable(f"the process that adds bases failed: {last}")
