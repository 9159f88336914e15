"""From an edit of a bead to the moment at which a search finds its new text, while 1,000 other beads are edited.

Through everything: SQL, bd's hook, poller, bus, reaction, scrubber, index. The clock starts when the transaction of the
edit has returned, before bd runs its hook. `python benchmarks/bead_to_hit.py --edits 50 --others 1000`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
import threading
import time
from pathlib import Path

from daemon import Daemon, Home, beads_served

from gtftd.control.client import ControlClient
from gtftd.errors import GtftdError
from gtftd.sampletown.beads import Beads
from gtftd.sampletown.database import folder_of
from gtftd.settings import find_socket
from gtftd.town import hooks
from gtftd.town.layout import load_town

LATEST_S = 60.0
LOOK_S = 0.005
REST_S = 15.0


class Bench:
    """A town whose rig `harbor` has many beads, and a daemon that indexes them."""

    def __init__(self, home: Home, others: int) -> None:
        self._client = ControlClient(find_socket(home.state), timeout_s=30)
        folder, hooks_dir = folder_of(home.town), home.town / "harbor/mayor/rig/.beads/hooks"
        self._folder = folder
        self._hooked = Beads(folder, "harbor", "hb", hooks_dir=hooks_dir)
        plain = Beads(folder, "harbor", "hb")
        self.others = [plain.create(f"Crate {number}", actor="mayor", description=TEXT) for number in range(others)]
        plain.close_connection()

    def wait_until_fed(self) -> None:
        while True:
            try:
                told = self._client.call("rag.status")
                if told["fed_at"] and not told["feeding"]:
                    return
            except GtftdError:
                pass
            time.sleep(0.1)

    def edit(self, bead: str) -> float:
        """Milliseconds until the new title is found."""
        word = "zz" + secrets.token_hex(6)
        began = self._write(bead, word)
        while time.monotonic() - began < LATEST_S:
            hits = self._client.call("rag.search", text=word, rig="harbor", limit=1)["hits"]
            if hits and word in hits[0]["text"]:
                return (time.monotonic() - began) * 1000
            time.sleep(LOOK_S)
        raise SystemExit(f"{bead} was not found under its new text within {LATEST_S:g} s")

    def _write(self, bead: str, word: str) -> float:
        plain = Beads(self._folder, "harbor", "hb")
        plain.update(bead, "mayor", title=f"Move the crate {word}")
        plain.close_connection()
        began = time.monotonic()
        self._hooked._hook("update", bead, "mayor")  # on the clock, as bd runs it
        return began

    def create(self) -> str:
        return self._hooked.create("Move the crate", actor="mayor", description=TEXT)

    def edit_others(self) -> None:
        """One after the other without a pause."""
        plain = Beads(self._folder, "harbor", "hb")
        for bead in self.others:
            plain.update(bead, "deacon", notes=f"counted {secrets.token_hex(4)}")
        plain.close_connection()


TEXT = "The crate stands on the quay beside the crane. " * 12


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--edits", type=int, default=50)
    arguments.add_argument("--others", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=8)
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        home = Home(Path(folder)).prepare()
        os.environ["CLAUDE_CONFIG_DIR"] = home.environ["CLAUDE_CONFIG_DIR"]
        hooks.install(load_town(home.town), home.state)
        with beads_served(home), Daemon(home):
            time.sleep(2)
            bench = Bench(home, chosen.others)
            bench.wait_until_fed()
            bead = bench.create()
            time.sleep(10)
            report("nothing else going on", [bench.edit(bead) for _ in range(chosen.edits)])
            report(f"while {chosen.others} others are edited", _crowded(bench, bead, chosen.rounds))


def _crowded(bench: Bench, bead: str, rounds: int) -> list[float]:
    """Each edit falls into the middle of all the others; between two rounds the daemon comes to rest."""
    taken = []
    for _ in range(rounds):
        other = threading.Thread(target=bench.edit_others)
        other.start()
        time.sleep(0.5)
        taken.append(bench.edit(bead))
        other.join()
        time.sleep(REST_S)
    return taken


def report(name: str, taken_ms: list[float]) -> None:
    ordered = sorted(taken_ms)
    figures = [ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (0, 50, 99, 100)]
    print(f"{name:<42}" + "".join(f"{label} {figure:8.1f} ms  " for label, figure in zip(
        ("min", "p50", "p99", "max"), figures, strict=True)))  # fmt: skip


if __name__ == "__main__":
    main()
