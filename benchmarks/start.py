"""The daemon from fork to READY=1 on NOTIFY_SOCKET, with a state of 100,000 finished reactions.

`python benchmarks/start.py --starts 20`. Bytecode is cached, as in an installed package; one start before
the measured ones fills that cache and makes the bus. `--imports` names the slowest imports of that start.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from daemon import Daemon, Home

from gtftd.state.database import migrate

FORBIDDEN = ("torch", "transformers", "chromadb", "typer", "mysql_mimic")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--starts", type=int, default=20)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--imports", action="store_true")
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        home = Home(Path(folder)).prepare()
        insert_reactions(home.state / "state.db", chosen.rows)
        with Daemon(home):
            pass
        if chosen.imports:
            print_imports(home)
        check_modules(home)
        ready, cpu = [], []
        for _ in range(chosen.starts):
            with Daemon(home) as daemon:
                ready.append(daemon.ready_after_s)
                cpu.append(sum(daemon.watched.cpu_times()[:2]))
    print(f"{chosen.rows:,} rows, {chosen.starts} starts: fork to READY, seconds")
    print(f"min {min(ready):.3f}  median {statistics.median(ready):.3f}  max {max(ready):.3f}")
    print(f"cpu of the daemon until READY: median {statistics.median(cpu):.2f} s")


def insert_reactions(path: Path, rows: int) -> None:
    migrate(path)
    now = time.time()
    connection = sqlite3.connect(path)
    connection.executemany(
        "INSERT INTO reactions (reaction, key, state, attempts, boot_id, event_id, updated_at)"
        " VALUES ('collect_closed_bead', ?, 'done', 1, 'boot-before', ?, ?)",
        ((f"gt-{number:06}:1", f"event-{number:06}", now - number) for number in range(rows)),
    )
    connection.commit()
    connection.close()


def check_modules(home: Home) -> None:
    code = f"import gtftd.programs.daemon, sys; print(*[name for name in {FORBIDDEN} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], env=home.environ, check=True, capture_output=True, text=True)
    print(f"of {', '.join(FORBIDDEN)} the daemon imports: {told.stdout.strip() or 'none'}")


def print_imports(home: Home) -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import gtftd.programs.daemon"]
    told = subprocess.run(command, env=home.environ, check=True, capture_output=True, text=True)
    lines = [line.removeprefix("import time:").split("|") for line in told.stderr.splitlines() if "us]" not in line]
    for own, whole, name in sorted(lines, key=lambda found: int(found[0]))[-12:]:
        print(f"  {int(own) / 1000:7.1f} ms itself {int(whole) / 1000:7.1f} ms with what it imports  {name.strip()}")


if __name__ == "__main__":
    main()
