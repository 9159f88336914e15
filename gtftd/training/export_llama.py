"""Asking llama.cpp what a GGUF says: in a process of its own, which may abort without harm to us."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable

from pydantic import ValidationError

from gtftd.errors import Invalid, NotReady
from gtftd.schemas.training import LlamaAnswer, LlamaQuestion

PROGRAM = "gtftd.programs.llama"
_NOT_INSTALLED = 3
_LOOK_S = 1.0
_SILENT_S = 1800.0
"""A model of 8B takes minutes on a CPU; what takes longer hangs."""


def ask_llama(question: LlamaQuestion, tick: Callable[[], None]) -> LlamaAnswer:
    """Raises NotReady without xllamacpp, Invalid when llama.cpp does not take the file. `tick`: every second."""
    command = [sys.executable, "-P", "-m", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as child:  # fmt: skip
        try:
            told, complaints = _wait(child, question.model_dump_json(), tick)
        except BaseException:
            child.kill()
            raise
    if child.returncode == _NOT_INSTALLED:
        raise NotReady("llama.cpp cannot be run, since xllamacpp is not installed: `pip install 'gtftd[train]'`")
    with contextlib.suppress(ValidationError):
        if child.returncode == 0:
            return LlamaAnswer.model_validate_json(told)
    raise Invalid(f"llama.cpp does not take it: {_last_words(complaints, child.returncode)}")


def _wait(child: subprocess.Popen[str], asked: str, tick: Callable[[], None]) -> tuple[str, str]:
    began = time.monotonic()
    given: str | None = asked
    while True:
        tick()
        try:
            return child.communicate(given, timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            given = None  # it is being sent
            if time.monotonic() - began > _SILENT_S:
                raise Invalid(f"llama.cpp gave no answer in {_SILENT_S:.0f} s") from None


def _last_words(complaints: str, status: int) -> str:
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    return f"{(errors or lines or ['it said nothing'])[-1][:300]} (status {status})"
