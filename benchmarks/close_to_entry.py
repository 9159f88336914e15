"""From a bead's close to its training entry on disk, through the installed hooks and an idle daemon.

Each close has a session of its own (started by the installed SessionStart hook) and a transcript of 50 KB.
The clock starts when the SQL transaction of the close has returned, before bd runs its hook, and stops when
the entry's row and file are there. `python benchmarks/close_to_entry.py --closes 100`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from daemon import Daemon, Home, beads_served

from gtftd.control.listing import entries_folder
from gtftd.control.logtail import log_file
from gtftd.sampletown.beadhooks import run_bead_hook
from gtftd.sampletown.beads import Beads, utc_now
from gtftd.sampletown.claudehooks import run_claude_hooks
from gtftd.sampletown.database import folder_of
from gtftd.sampletown.transcript import Transcript, project_folder
from gtftd.state.database import open_reader
from gtftd.state.files import content_path
from gtftd.town import hooks
from gtftd.town.layout import load_town

RIG, PREFIX, ACTOR = "harbor", "hb", "harbor/polecats/nux"
LATEST_S = 30.0
LOOK_S = 0.001
_ENTRY = "SELECT sha256 FROM entries WHERE bead = ? AND kind = 'session'"


@dataclass(frozen=True)
class Close:
    """One close: moments in Unix seconds."""

    bead: str
    closed_at: float
    hooked_at: float
    stored_at: float

    @property
    def took_ms(self) -> float:
        return (self.stored_at - self.closed_at) * 1000


class Polecat:
    """Takes one bead after the other, each in a session of its own."""

    def __init__(self, home: Home, transcript_bytes: int) -> None:
        self._home = home
        self._transcript_bytes = transcript_bytes
        self._hooks_dir = home.town / RIG / "mayor/rig/.beads/hooks"
        folder = folder_of(home.town)
        self._beads = Beads(folder, RIG, PREFIX, hooks_dir=self._hooks_dir, environ_of=lambda _: self._environ(""))
        self._closing = Beads(folder, RIG, PREFIX)  # its hook is run below, on the clock
        self._claude_dir = home.town / ".claude-config"
        self._cwd = home.town / RIG / "polecats" / "nux" / RIG
        self._reader = open_reader(home.state / "state.db")

    def work(self, pause_s: float) -> Close:
        """A whole session; `pause_s` before the close lets the daemon come to rest."""
        bead = self._beads.create("Make the gate green", actor="mayor")
        environ = self._environ(bead)
        session = str(uuid.uuid4())
        transcript = self._transcript(session)
        self._run_hooks("SessionStart", transcript.path, environ, source="startup")
        self._beads.hook(bead, ACTOR, "mayor")
        self._beads.claim(bead, ACTOR)
        self._grow(transcript)
        call = "toolu_" + uuid.uuid4().hex[:22]
        command = {"command": f'bd close {bead} --reason "the gate is green"', "description": "Close the bead"}
        transcript.assistant({"type": "tool_use", "id": call, "name": "Bash", "input": command})
        time.sleep(pause_s)
        self._closing.close(bead, "the gate is green", ACTOR)
        closed_at = time.time()
        issue = json.dumps(self._closing.show(bead))
        run_bead_hook(self._hooks_dir, "close", bead, issue, environ)
        hooked_at = time.time()
        told = {"tool_use_id": call, "type": "tool_result", "content": f"✓ Closed {bead}", "is_error": False}
        transcript.user([told])
        stored_at = self._wait_for_entry(bead)
        self._run_hooks("SessionEnd", transcript.path, environ, reason="other")
        return Close(bead, closed_at, hooked_at, stored_at)

    def _wait_for_entry(self, bead: str) -> float:
        deadline = time.time() + LATEST_S
        while time.time() < deadline:
            row = self._reader.execute(_ENTRY, (bead,)).fetchone()
            if row is not None and self._file(row[0]).exists():
                return time.time()
            time.sleep(LOOK_S)
        raise SystemExit(f"no entry of {bead} after {LATEST_S} s")

    def _file(self, digest: str) -> Path:
        return content_path(entries_folder(self._home.state) / "objects", digest, suffix=".json")

    def _transcript(self, session: str) -> Transcript:
        path = project_folder(self._claude_dir, self._cwd) / f"{session}.jsonl"
        return Transcript(path, cwd=self._cwd, branch="polecat/nux", model="claude-sonnet-4-5-20250929", clock=utc_now)

    def _grow(self, transcript: Transcript) -> None:
        transcript.user("Please make the gate green; the bead on your hook says how.")
        while not transcript.path.exists() or transcript.path.stat().st_size < self._transcript_bytes:
            key = "toolu_" + uuid.uuid4().hex[:22]
            transcript.assistant({"type": "text", "text": "I look at the next file of the gate before I change it."})
            transcript.assistant({"type": "tool_use", "id": key, "name": "Read", "input": {"file_path": "gate.py"}})
            lines = "\n".join(f"{number}: def gate_{number}(ship): return ship.is_known" for number in range(25))
            transcript.user([{"tool_use_id": key, "type": "tool_result", "content": lines, "is_error": False}])

    def _run_hooks(self, event: str, transcript: Path, environ: dict[str, str], **more: str) -> None:
        payload = {"session_id": transcript.stem, "transcript_path": str(transcript), "cwd": str(self._cwd), **more}
        if not run_claude_hooks(self._claude_dir, event, payload, environ, self._cwd):
            raise SystemExit(f"no hook ran for {event}; were they installed?")

    def _environ(self, bead: str) -> dict[str, str]:
        return self._home.environ | {
            "GT_ROLE": ACTOR,
            "GT_RIG": RIG,
            "GT_ROOT": str(self._home.town),
            "GT_AGENT": "claude",
            "GT_RUN": str(uuid.uuid4()),
            "GT_SESSION": f"{PREFIX}-nux",
            "GT_WORK_BEAD": bead,
            "BD_ACTOR": ACTOR,
        }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--closes", type=int, default=100)
    arguments.add_argument("--transcript-bytes", type=int, default=50_000)
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        home = Home(Path(folder)).prepare()
        os.environ["CLAUDE_CONFIG_DIR"] = home.environ["CLAUDE_CONFIG_DIR"]
        hooks.install(load_town(home.town), home.state)
        with beads_served(home), Daemon(home) as daemon:
            time.sleep(2)
            closes = measure(home, chosen.closes, chosen.transcript_bytes)
            cpu_s, rss_bytes = sum(daemon.watched.cpu_times()[:2]), daemon.watched.memory_info().rss
        report(closes, facts_told(log_file(home.state)))
        print(f"the daemon in all: {cpu_s:.1f} s of processor time, RSS {rss_bytes / 1e6:.1f} MB afterwards")


def measure(home: Home, count: int, transcript_bytes: int) -> list[Close]:
    """The first two warm the scrubber's rules and the caches, and are not counted."""
    polecat = Polecat(home, transcript_bytes)
    chance = random.Random(1)
    return [polecat.work(0.3 + chance.random()) for _ in range(count + 2)][2:]


def facts_told(log: Path) -> list[float]:
    """When polls that brought facts were over, and what they brought was in the outbox."""
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    told = [line["timestamp"] for line in lines if line["event"] == "beads.synced"]
    return sorted(datetime.fromisoformat(stamp).timestamp() for stamp in told)


def report(closes: list[Close], told: list[float]) -> None:
    print(f"\n{len(closes)} closes, ms{'':<24}{'min':>9}{'p50':>9}{'p99':>9}{'max':>9}")
    print_line("close to entry", [close.took_ms for close in closes])
    print_line("  hook, fork to exit", [(close.hooked_at - close.closed_at) * 1000 for close in closes])
    polled = [next((at for at in told if at > close.closed_at), close.stored_at) for close in closes]
    pairs = list(zip(closes, polled, strict=True))
    print_line("  close to the poll's end", [(at - close.closed_at) * 1000 for close, at in pairs])
    print_line("  poll's end to entry", [(close.stored_at - at) * 1000 for close, at in pairs])


def print_line(name: str, taken_ms: list[float]) -> None:
    ordered = sorted(taken_ms)
    figures = [ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (0, 50, 99, 100)]
    print(f"{name:<38}" + "".join(f"{figure:9.1f}" for figure in figures))


if __name__ == "__main__":
    main()
