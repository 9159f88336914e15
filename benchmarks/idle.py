"""What an idle daemon costs: resident memory and processor share, seen from outside.

A sample town in which nobody works, its beads served by the stand-in (in a process of its own, not counted), hooks
installed. `python benchmarks/idle.py --seconds 60`; the nats-server that the daemon runs is shown apart.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from daemon import Daemon, Home, beads_served

SETTLE_S = 10.0


@dataclass(frozen=True)
class Reading:
    """Counters of one process at one moment; wake-ups are voluntary context switches of all threads."""

    cpu_s: float
    wakeups: int
    rss_bytes: int
    threads: int


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60.0)
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        home = Home(Path(folder)).prepare()
        with beads_served(home):
            with Daemon(home):  # makes the state and the bytecode
                pass
            with Daemon(home) as daemon:
                time.sleep(SETTLE_S)
                watch({"gtftd": daemon.watched, "nats-server": daemon.server()}, chosen.seconds)


def watch(processes: dict[str, psutil.Process], seconds: float) -> None:
    before = {name: read(process) for name, process in processes.items()}
    began = time.monotonic()
    time.sleep(seconds)
    taken_s = time.monotonic() - began
    print(f"idle for {taken_s:.0f} s{'RSS MB':>16}{'% of a core':>13}{'wake-ups/s':>12}{'threads':>9}")
    for name, process in processes.items():
        old, new = before[name], read(process)
        share = 100 * (new.cpu_s - old.cpu_s) / taken_s
        wakeups = (new.wakeups - old.wakeups) / taken_s
        print(f"{name:<20}{new.rss_bytes / 1e6:12.1f}{share:13.2f}{wakeups:12.1f}{new.threads:9}")


def read(process: psutil.Process) -> Reading:
    """From /proc: a thread that ended within the time takes its switches with it."""
    tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
    wakeups = 0
    for task in tasks:
        lines = (task / "status").read_text().splitlines()
        wakeups += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return Reading(sum(process.cpu_times()[:2]), wakeups, process.memory_info().rss, len(tasks))


if __name__ == "__main__":
    main()
