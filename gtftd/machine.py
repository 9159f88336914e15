"""What the machine has left for us, within the control groups we live in; and whom its kernel killed for want of it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_PF_EXITING = 0x4
"""Among a process' flags, field 9 of proc_pid_stat(5)."""


@dataclass(frozen=True)
class _Version:
    """Where one version of control groups (cgroups(7)) tells of memory; `caches`: what is given back when asked for."""

    mark: str
    folders: tuple[str, ...]
    limits: tuple[str, ...]
    used: str
    caches: tuple[str, ...]
    kills: str


_VERSIONS = (
    _Version(
        mark="0::",
        folders=("sys/fs/cgroup", "sys/fs/cgroup/unified"),
        limits=("memory.max", "memory.high"),
        used="memory.current",
        caches=("inactive_file", "active_file"),
        kills="memory.events",
    ),
    _Version(
        mark=":memory:",
        folders=("sys/fs/cgroup/memory",),
        limits=("memory.limit_in_bytes",),
        used="memory.usage_in_bytes",
        caches=("total_inactive_file", "total_active_file"),
        kills="memory.oom_control",
    ),
)


def free_memory_bytes(root: Path = ROOT) -> int:
    """What programs of ours can have without swapping, and without anybody of our control groups being killed."""
    return max(0, min([_free_of_machine(root), *_free_of_groups(root)]))


def load_average(root: Path = ROOT) -> float:
    """Of the last minute; 0 where a sandbox hides it."""
    try:
        return float((root / "proc/loadavg").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0


def choose_threads(
    asked: int | None,
    load: float | None = None,
    cores: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """As asked for, or as OMP_NUM_THREADS says; else all cores of a machine at rest, and one of a busy one: agents come
    first, and threads that wait for each other spin.
    """
    if asked is not None:
        return asked
    told = environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if told.isdecimal() and int(told):
        return int(told)
    cores = cores or len(os.sched_getaffinity(0))
    load = load_average() if load is None else load
    return 1 if load > cores / 2 else cores


def signal_name(number: int) -> str:
    """`SIGKILL`; those of real time have none."""
    return signal.Signals(number).name if number in {*map(int, signal.Signals)} else f"signal {number}"


class OomWatch:
    """Whether the kernel has killed for want of memory where a process lives: in its own control group, or in the whole
    machine where it has none that tells.
    """

    def __init__(self, pid: int, root: Path = ROOT) -> None:
        self._pid = pid
        self._root = root
        self._counters: tuple[Path, ...] = ()
        self._before = 0
        self.look()

    def look(self) -> None:
        """While it lives: it may be moved to another group."""
        leaves = {version.kills: group for version, group in reversed(list(_groups(self._root, str(self._pid))))}
        told = tuple(file for kills, group in leaves.items() if (file := group / kills).exists())
        counters = told or (self._root / "proc/vmstat",)
        if counters != self._counters and not (self._counters and self._is_ending()):
            self._counters, self._before = counters, self._count(counters)

    def _is_ending(self) -> bool:
        """Looked at afterwards: the kernel shows whoever is about to end in the outermost group."""
        try:
            stat = (self._root / "proc" / str(self._pid) / "stat").read_text()
        except OSError:
            return True
        return bool(int(stat.rpartition(")")[2].split()[6]) & _PF_EXITING)

    def has_killed(self) -> bool:
        return self._count(self._counters) > self._before

    def _count(self, counters: tuple[Path, ...]) -> int:
        return sum(_value_of(file, "oom_kill") for file in counters)


def _free_of_machine(root: Path) -> int:
    """MemAvailable; where a sandbox shows no such file (`ProcSubset=pid`), what nobody uses."""
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _free_of_groups(root: Path) -> Iterator[int]:
    for version, group in _groups(root, "self"):
        used, stat = _number_in(group / version.used), group / "memory.stat"
        for name in version.limits:
            limit = _number_in(group / name)
            if limit is not None and used is not None:
                yield limit - used + sum(_value_of(stat, cache) for cache in version.caches)


def _groups(root: Path, pid: str) -> Iterator[tuple[_Version, Path]]:
    """The control group of a process and those around it, the inner ones first, as far as they are shown to us."""
    with contextlib.suppress(OSError):
        lines = (root / "proc" / pid / "cgroup").read_text().splitlines()
        for version in _VERSIONS:
            place = next((line.partition(version.mark)[2] for line in lines if version.mark in line), None)
            for folder in version.folders if place is not None else ():
                own = Path(place.lstrip("/")) if place else Path()
                yield from ((version, root / folder / group) for group in (own, *own.parents))


def _number_in(file: Path) -> int | None:
    """None where there is no such file, or it says `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _value_of(file: Path, key: str) -> int:
    """Of a line `key value`; 0 where there is none."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), 0)
