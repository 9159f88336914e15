"""How long `gtftctl model list` takes with 500 models, beside a bare interpreter and an import of typer.

All in turns, in processes of their own, from the start of the process to its end. `python benchmarks/registry.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gtftd.state.database import migrate

MODEL = {
    "kind": "role", "status": "archived", "base_model": "smollm2-135m", "base_digest": "a" * 64,
    "tokenizer_sha256": "b" * 64, "corpus_hash": "c" * 64, "artifact": "d" * 64, "gtftd_version": "0.1.0",
    "eval_score": 0.87, "trained_at": 1.77e9, "created_at": 1.77e9,
    "training_config": json.dumps({"sft": {"learning_rate": 2e-4, "rank": 16}}),
}  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--models", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=40)
    chosen = arguments.parse_args()
    program = [sys.executable, str(Path(sys.executable).with_name("gtftctl"))]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        fill(state / "state.db", chosen.models)
        where = ["--state-dir", str(state)]
        contestants = {
            "gtftctl model list": [*program, "model", "list", *where],
            "gtftctl model list --json": [*program, "model", "list", "--json", *where],
            "gtftctl model show": [*program, "model", "show", "deacon-v7", *where],
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import typer'": [sys.executable, "-c", "import typer"],
        }
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        print(f"{chosen.models} models, load before the start: {os.getloadavg()[0]:.2f}")
        for _ in range(chosen.rounds):
            for name, command in contestants.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                taken[name].append((time.perf_counter() - began) * 1000)
    bare = statistics.median(taken["python -c pass"])
    for name, times in taken.items():
        ordered = sorted(times)
        p95 = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
        median = statistics.median(times)
        print(f"{name:<28} p50 {median:6.1f} ms  p95 {p95:6.1f} ms  {median / bare:5.1f} x a bare interpreter")


def fill(database: Path, count: int) -> None:
    """Versions of eight roles, each examined."""
    migrate(database)
    roles = ("mayor", "deacon", "boot", "witness", "refinery", "polecat", "crew", "dog")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        sql = "INSERT INTO artifacts VALUES (?, 'safetensors', 1, 'me', 1.0, NULL)"
        connection.execute(sql, (MODEL["artifact"],))
        for number in range(count):
            role, version = roles[number % 8], number // 8 + 1
            row = MODEL | {"name": f"{role}-v{version}", "series": role, "version": version}
            sql = f"INSERT INTO models ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
            connection.execute(sql, list(row.values()))
            connection.execute("INSERT INTO evaluations VALUES (?, ?, 'patrol', 1.0)", (f"e{number}", row["name"]))
            for category in ("", "git", "planning", "beads"):
                scores = (f"e{number}", category, 0.87, 300, 0.83, 0.9)
                connection.execute("INSERT INTO eval_scores VALUES (?, ?, ?, ?, ?, ?)", scores)
        connection.commit()


if __name__ == "__main__":
    main()
