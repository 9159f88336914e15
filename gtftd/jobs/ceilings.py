"""What a child may take of the machine on which the agents live."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gtftd.machine import free_memory_bytes

OOM_SCORE_ADJ = 900
"""The kernel takes a training before an agent (proc_pid_oom_score_adj(5); 1000 is the first of all)."""
_SHARE_OF_FREE = 0.8
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Ceilings:
    """Set once by the child on itself, before it becomes the program."""

    memory_bytes: int
    nice: int


def impose(ceilings: Ceilings, name: str) -> Iterator[str]:
    """Set what can be set; what cannot, by name: a sandbox may forbid it, and then sets limits of its own.

    Memory is counted as RLIMIT_DATA counts it: private memory that may be written. RLIMIT_AS would count files that
    are only mapped, and the address space that drivers of GPUs reserve.
    """
    enter_cgroup(name, ceilings.memory_bytes)
    limits = {resource.RLIMIT_DATA: ceilings.memory_bytes, resource.RLIMIT_CORE: 0}
    for what, most in limits.items():
        try:
            hard = resource.getrlimit(what)[1]
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (least, least))
        except (OSError, ValueError) as error:
            yield f"limit {what} to {most}: {error}"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), ceilings.nice))
    except OSError as error:
        yield f"nice {ceilings.nice}: {error}"
    try:
        _lower_session(ceilings.nice)
    except OSError as error:
        yield f"nice {ceilings.nice} of the session: {error}"
    try:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ))
    except OSError as error:
        yield f"oom_score_adj {OOM_SCORE_ADJ}: {error}"


def _lower_session(nice: int) -> None:
    """Kernels with autogroups (sched(7)) share the processor among sessions first, and heed niceness within each alone:
    a training in a session of its own would have as much as an agent. Nothing where others live in our session.
    """
    file = Path("/proc/self/autogroup")
    if os.getsid(0) == os.getpid() and file.exists():
        file.write_text(str(nice))


def enter_cgroup(name: str, memory_bytes: int, own: Path | None = None) -> Path | None:
    """A control group beside our `own`, where its memory controller is delegated to us (cgroups(7), version 2)."""
    with contextlib.suppress(OSError, StopIteration):
        parent = (own or _own_cgroup()).parent
        if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            return None
        for left in parent.glob("gtftd-*.scope"):
            with contextlib.suppress(OSError):  # somebody lives there
                left.rmdir()
        group = parent / f"gtftd-{name}.scope"
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(str(memory_bytes))
        with contextlib.suppress(OSError):
            (group / "cpu.weight").write_text("20")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        return group
    return None


def _own_cgroup() -> Path:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return _CGROUPS / next(line[3:].lstrip("/") for line in lines if line.startswith("0::"))


def memory_ceiling(asked_bytes: int | None) -> int:
    return asked_bytes or int(free_memory_bytes() * _SHARE_OF_FREE)


def thread_environ(threads: int) -> Mapping[str, str]:
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
