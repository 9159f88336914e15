"""Exporting by a child, which may load what we must not: without the network. Without torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from pydantic import ValidationError

from gtftd import errors
from gtftd.errors import Invalid, NonRetriable
from gtftd.schemas.training import ExportOrder, ExportRecord

PROGRAM = "gtftd.programs.export"
_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore",
}  # fmt: skip
_CLASSES = ("Invalid", "Missing", "Refused", "Corrupt", "Conflict", "NoSpace", "NotReady")


def export_in_child(order: ExportOrder) -> ExportRecord:
    """Raises what the child found wrong, in its words."""
    threads = str(order.threads)
    ended = subprocess.run(
        [sys.executable, "-P", "-m", PROGRAM],
        input=order.model_dump_json(),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_ENVIRONMENT, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
    )
    if ended.returncode < 0:
        hint = "; the kernel does that when memory is short: free some" if -ended.returncode == signal.SIGKILL else ""
        raise NonRetriable(f"the process that exports was ended by signal {-ended.returncode}{hint}; nothing was made")
    try:
        told = json.loads(ended.stdout.splitlines()[-1])
        if "error" not in told:
            return ExportRecord.model_validate(told)
    except (ValueError, IndexError, ValidationError) as error:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
        raise NonRetriable(f"the process that exports failed: {last}") from error
    kind = getattr(errors, told["error"]) if told["error"] in _CLASSES else Invalid
    raise kind(told["message"])
