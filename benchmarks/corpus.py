"""Ten thousand sessions from transcript to snapshot: collect, scrub, store; then what `gtftctl corpus` takes on them.

Evidence is written first, as the reactions do; then every session is reconciled, a few at a time, as the daemon does.
Each session has a bead of its own, a transcript of its own text, and one in ten dies instead of closing its bead.
Commands are processes of their own: their start is in the figures. `python benchmarks/corpus.py --sessions 10000`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gtftd.corpus import Collector, EntryStore, Evidence
from gtftd.corpus.in_force import ConventionHistory
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.settings import CollectionSettings
from gtftd.schemas.town import BeadAssigned, BeadClosed, BeadReleased, SessionEnded, SessionStarted
from gtftd.scrub import Scrubber
from gtftd.state import Database, Outbox
from gtftd.town.layout import load_town
from gtftd.town.spool import Spool

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
RIG, POLECATS = "harbor", 40
AT_ONCE = 4
SAMPLES = 10
WORDS = Path(__file__).read_text().split() + (Path(os.__file__).read_text().split())
GTFTCTL = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()", "corpus"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sessions", type=int, default=10_000)
    arguments.add_argument("--transcript-bytes", type=int, default=20_000)
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder, bench_in(Path(folder)) as bench:
        asyncio.run(measure(bench, chosen.sessions, chosen.transcript_bytes))
    print(f"load at the end: {os.getloadavg()[0]:.2f}")


@dataclass(frozen=True)
class Bench:
    """The parts of a daemon that collect, on a town and a state of their own."""

    folder: Path
    evidence: Evidence
    store: EntryStore
    collector: Collector

    @property
    def state(self) -> Path:
        return self.folder / "state"


@contextlib.contextmanager
def bench_in(folder: Path) -> Iterator[Bench]:
    town, state = make_town(folder / "town"), folder / "state"
    (state / "logs").mkdir(parents=True)
    database = Database.open(state / "state.db")
    store = EntryStore(database, state / "entries", Outbox(database, prefix="gtftd", source="bench"))
    store.prepare()
    evidence, spool = Evidence(database), Spool(state / "spool")
    spool.ensure()
    scrubber = Scrubber({"TOWN_TOKEN": "bench-known-value-0001"}, key=b"k" * 32)
    place = load_town(town)
    history = ConventionHistory(database, lambda: place)
    collector = Collector(
        lambda: place, evidence, store, lambda: scrubber, spool, CollectionSettings(), Metrics(), Activity(), history
    )
    try:
        yield Bench(folder, evidence, store, collector)
    finally:
        database.close()


async def measure(bench: Bench, sessions: int, transcript_bytes: int) -> None:
    started = time.monotonic()
    size = sum(write_transcript(bench.folder, number, transcript_bytes) for number in range(sessions))
    print(f"{sessions} transcripts, {size / 1e6:.0f} MB, written in {time.monotonic() - started:.0f} s")
    started = time.monotonic()
    for number in range(sessions):
        await tell(bench.evidence, bench.folder, number)
    print(f"evidence of all: {time.monotonic() - started:.1f} s")
    await collect_all(bench, sessions, size)
    started = time.monotonic()
    await reconcile_all(bench.collector, range(sessions))
    print(f"all of them again, nothing new: {time.monotonic() - started:.1f} s, RSS {rss_mb():.0f} MB")
    await build_all(bench, sessions, transcript_bytes)
    await ask_all(bench)


async def collect_all(bench: Bench, sessions: int, size_bytes: int) -> None:
    """In ten parts, so that it shows whether pace and memory stay what they are."""
    began, cpu, seen = time.monotonic(), time.process_time(), [rss_mb()]
    for part in range(SAMPLES):
        started, cpu_then = time.monotonic(), time.process_time()
        chosen = range(sessions * part // SAMPLES, sessions * (part + 1) // SAMPLES)
        await reconcile_all(bench.collector, chosen)
        took, own = time.monotonic() - started, time.process_time() - cpu_then
        seen.append(rss_mb())
        print(f"  to {chosen.stop:6}: {len(chosen) / took:5.1f} sessions/s, {1000 * own / len(chosen):5.1f} ms of "
              f"processor time each, RSS {seen[-1]:.0f} MB")  # fmt: skip
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    entries = sum((await bench.store.counts()).values())
    print(f"collect, scrub, store: {entries} entries in {took:.1f} s ({cpu:.1f} s of processor time)")
    print(f"  {entries / took:.1f} entries/s, {size_bytes / 1e6 / took:.2f} MB/s, RSS {seen[0]:.0f} to {max(seen):.0f} "
          f"MB, peak {peak_mb():.0f} MB")  # fmt: skip


async def build_all(bench: Bench, sessions: int, transcript_bytes: int) -> None:
    """Full, with nothing new, with one in a hundred more."""
    chosen = ("snapshot", "--rig", RIG, "--role", "polecat", "--json")
    ask(bench, "snapshot, full", chosen)
    ask(bench, "snapshot, nothing new", chosen)
    more = range(sessions, sessions + max(1, sessions // 100))
    for number in more:
        write_transcript(bench.folder, number, transcript_bytes)
        await tell(bench.evidence, bench.folder, number)
    await reconcile_all(bench.collector, more)
    ask(bench, "snapshot, 1 % new", chosen)
    for name in ("state.db", "state.db-wal", "entries", "snapshots"):
        print(f"on disk: {name:13} {disk_mb(bench.state / name):8.1f} MB")
    print(f"on disk: {'all of it':13} {disk_mb(bench.state):8.1f} MB, hard links once")


async def ask_all(bench: Bench) -> None:
    """Every command that looks at the corpus."""
    entry = (await bench.store.newest(limit=1))[0].entry_id
    after, before = json.loads(ask(bench, "snapshots", ("snapshots", "--json")))[:2]
    for what in (
        ("stats",),
        ("stats", "--by", "label"),
        ("stats", "--labels"),
        ("list",),
        ("list", "--all"),
        ("list", "--bead", "hb-1"),
        ("show", entry),
        ("explain", entry),
        ("diff", before["id"], after["id"]),
        ("verify", after["id"]),
        ("export", after["id"], "--out", str(bench.folder / "chat.jsonl")),
        ("export", after["id"], "--format", "kto", "--out", str(bench.folder / "kto.jsonl")),
    ):
        ask(bench, " ".join(part for part in what if len(part) < 20), what)


def ask(bench: Bench, name: str, arguments: Sequence[str]) -> str:
    """One command as an operator gives it; a snapshot that is not ready ends with 1."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*GTFTCTL, *arguments, "--state-dir", str(bench.state)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=bench.folder)
    if done.returncode and arguments[0] != "snapshot":
        sys.exit(f"{name}: exit code {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took = time.monotonic() - started
    print(f"{name:24} {took:7.2f} s, {cpu:6.2f} s of processor time, {len(done.stdout):,} characters", flush=True)
    return done.stdout


async def reconcile_all(collector: Collector, numbers: Sequence[int]) -> None:
    waiting = iter(numbers)

    async def work(mine: Iterator[int]) -> None:
        for number in mine:
            await collector.reconcile(session_id(number))

    await asyncio.gather(*(work(waiting) for _ in range(AT_ONCE)))


def session_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def disk_mb(path: Path) -> float:
    """What files take on disk, each once however many names it has."""
    files = path.rglob("*") if path.is_dir() else [path]
    stats = {(stat.st_dev, stat.st_ino): stat.st_blocks for file in files if (stat := file.lstat())}
    return sum(stats.values()) * 512 / 1024**2


async def tell(evidence: Evidence, folder: Path, number: int) -> None:
    began = START + timedelta(minutes=number)
    ended, actor, bead = began + timedelta(seconds=600), f"{RIG}/polecats/p{number % POLECATS}", f"hb-{number}"
    where = str(transcript_path(folder, number))
    await evidence.add_session(SessionStarted(
        at=began, seen_by="hook", session_id=session_id(number), transcript_path=where, start="startup",
        role="polecat", rig=RIG, actor=actor, agent="claude", tmux_session=f"hb-p{number % POLECATS}",
    ))  # fmt: skip
    await evidence.add_change(BeadAssigned(at=began, seen_by="feed", bead=bead, actor=actor))
    if number % 10 != 9:
        await evidence.add_close(BeadClosed(
            at=ended - timedelta(seconds=5), seen_by="poll", database=RIG, bead=bead, title="Make the gate green",
            status="closed", assignee=actor, closed_by="harbor/refinery", reason=f"Merged in hb-wisp-{number}",
        ))  # fmt: skip
    else:
        release = BeadReleased(at=ended, seen_by="poll", bead=bead, actor=actor, how="requeue")
        await evidence.add_change(release)
    died = number % 10 == 9
    end = SessionEnded(
        at=ended, seen_by="hook", session_id=session_id(number), reason="crash" if died else "other", died=died
    )
    await evidence.add_end(end)


def transcript_path(folder: Path, number: int) -> Path:
    return folder / "claude" / "projects" / f"p{number % 100}" / f"{session_id(number)}.jsonl"


def write_transcript(folder: Path, number: int, size: int) -> int:
    """Turns about random words of real code; every session's text is its own. Returns the bytes written."""
    chance = random.Random(number)
    path = transcript_path(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, object]] = []
    at = START + timedelta(minutes=number)

    def add(kind: str, message: dict[str, object]) -> None:
        nonlocal at
        at += timedelta(seconds=1)
        lines.append({
            "type": kind, "uuid": f"{number}-{len(lines)}",
            "parentUuid": f"{number}-{len(lines) - 1}" if lines else None,
            "sessionId": session_id(number), "cwd": f"/srv/gt/{RIG}/polecats/p/{RIG}", "version": "2.1.38",
            "isSidechain": False, "timestamp": at.isoformat().replace("+00:00", "Z"), "message": message,
        })  # fmt: skip

    add("user", {"role": "user", "content": "Please make the gate green; the bead on your hook says how."})
    written = 0
    while written < size:
        key = f"toolu_{number:08d}{len(lines):08d}"
        say = "I look at " + " ".join(chance.choices(WORDS, k=30))
        told = "\n".join(" ".join(chance.choices(WORDS, k=10)) for _ in range(25))
        command = {"command": f"cat src/gate_{number}.py"}
        blocks = [
            {"type": "text", "text": say},
            {"type": "tool_use", "id": key, "name": "Bash", "input": command},
        ]
        add("assistant", {"role": "assistant", "id": f"msg_{len(lines)}", "model": "claude-sonnet", "content": blocks})
        result = [{"type": "tool_result", "tool_use_id": key, "content": told, "is_error": False}]
        add("user", {"role": "user", "content": result})
        written += len(say) + len(told)
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(content)
    return len(content)


def make_town(root: Path) -> Path:
    (root / "mayor").mkdir(parents=True)
    (root / "mayor" / "town.json").write_text('{"type": "town", "version": 1, "name": "bench"}')
    rigs = {"version": 1, "rigs": {RIG: {"git_url": "x", "beads": {"repo": "x", "prefix": "hb"}}}}
    (root / "mayor" / "rigs.json").write_text(json.dumps(rigs))
    return root


if __name__ == "__main__":
    main()
