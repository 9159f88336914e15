"""Asking a program of ours that may load what we must not: in a process of its own, without the network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from gtftd import errors
from gtftd.errors import GtftdError, Invalid, NonRetriable
from gtftd.machine import signal_name

_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore",
}  # fmt: skip
_CLASSES = ("Invalid", "Missing", "Refused", "Corrupt", "Conflict", "NoSpace", "NotReady")


def ask(program: str, question: str, *words: str, task: str, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The JSON object that it prints last. Raises what it found wrong, in its words; `task`: what it does."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", program, *words], input=question, capture_output=True, text=True, check=False,
        env={**os.environ, **_ENVIRONMENT, **environ},
    )  # fmt: skip
    if ended.returncode < 0:
        raise _killed(-ended.returncode, task)
    try:
        told: Mapping[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise _broken(ended.stderr, task) from error
    if "error" in told:
        kind = getattr(errors, told["error"]) if told["error"] in _CLASSES else Invalid
        raise kind(told["message"])
    return told


def threads_of(count: int) -> Mapping[str, str]:
    return {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}


def _killed(number: int, task: str) -> GtftdError:
    hint = "; the kernel does that when memory is short: free some" if number == signal.SIGKILL else ""
    return NonRetriable(f"the process that {task} was ended by {signal_name(number)}{hint}; nothing was made")


def _broken(stderr: str, task: str) -> GtftdError:
    last = (stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
    if last.startswith(("ModuleNotFoundError", "ImportError")):
        return NonRetriable(f"the model stack is not installed ({last}); run `pip install 'gtftd[train]'`")
    return NonRetriable(f"the process that {task} failed: {last}")
