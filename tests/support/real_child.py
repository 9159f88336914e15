"""The real child of a run, with examples from memory, and with one harm that it does to itself.

`python -m tests.support.real_child HARM RUN_DIR`; HARM: `none`; `refused`: from the first step on not one page of
memory more, and long rows; `overdrawn`: in a control group of its own it touches more than that may have;
`dies:SECONDS`: SIGKILL so long after the libraries are there, wherever it is then.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gtftd.programs import train
from gtftd.schemas.training import RunSpec
from gtftd.training.batches import Batch, Cursor
from tests.support.training_run import InMemory, open_examples, some_row

GROUP = "gtftd-test"
GROUP_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Harmful(InMemory):
    """Does the harm when the first batch is asked for."""

    harm: str = ""

    def from_cursor(self, cursor: Cursor) -> Iterator[tuple[Batch, Cursor]]:
        if self.harm == "refused":
            most = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (data_bytes(), most))
        if self.harm == "overdrawn":
            overdraw()
        return InMemory.from_cursor(self, cursor)


def data_bytes() -> int:
    """As RLIMIT_DATA counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def own_group() -> Path | None:
    """Ours in version 1 or 2 of control groups, where one below it can limit memory."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "memory":
            return Path("/sys/fs/cgroup/memory") / place.lstrip("/")
    return None


def overdraw() -> None:
    parent = own_group()
    assert parent is not None
    group = parent / GROUP
    group.mkdir(exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(str(GROUP_BYTES))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    time.sleep(3)  # whoever watches it is to know where it is
    kept = [np.ones(2**20, np.uint8) for _ in range(8 * GROUP_BYTES // 2**20)]
    raise AssertionError(f"{len(kept)} MiB were given")


def main() -> int:
    harm, folder = sys.argv[1:]
    if harm.startswith("dies:"):
        import gtftd.training.loop
        import gtftd.training.lora  # noqa: F401  # what is to be harmed comes behind them

        threading.Thread(target=_die, args=(float(harm.partition(":")[2]),), daemon=True).start()

    def opened(spec: RunSpec, split: str, tokenizer_folder: Path, cache_folder: Path) -> InMemory:
        if harm not in ("refused", "overdrawn") or split == "dev":
            return open_examples(spec, split, tokenizer_folder, cache_folder)
        random = np.random.default_rng(0)
        return Harmful((Batch(rows=(some_row(random, (2000,)),)),), harm=harm)

    return train.main([folder], open_examples=opened)


def _die(after_s: float) -> None:
    time.sleep(after_s)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
