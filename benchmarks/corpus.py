"""Ten thousand sessions from transcript to snapshot: collect, scrub, store; then a full and an incremental build.

Evidence is written first, as the reactions do; then every session is reconciled, a few at a time, as the daemon does.
Each session has a bead of its own, a transcript of its own text, and one in ten dies instead of closing its bead.
`python benchmarks/corpus.py --sessions 10000`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gtftd.corpus import Collector, EntryStore, Evidence
from gtftd.corpus.in_force import ConventionHistory
from gtftd.corpus.snapshot import build_snapshot
from gtftd.metrics import Activity, Metrics
from gtftd.schemas.settings import CollectionSettings, SettingsModel
from gtftd.schemas.town import BeadAssigned, BeadClosed, BeadReleased, SessionEnded, SessionStarted
from gtftd.scrub import Scrubber
from gtftd.state import Database, Outbox
from gtftd.town.layout import load_town
from gtftd.town.spool import Spool

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
RIG, POLECATS = "harbor", 40
AT_ONCE = 4
WORDS = Path(__file__).read_text().split() + (Path(os.__file__).read_text().split())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sessions", type=int, default=10_000)
    arguments.add_argument("--transcript-bytes", type=int, default=20_000)
    chosen = arguments.parse_args()
    print(f"load before the start: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory(prefix="gtftd-bench-") as folder:
        asyncio.run(measure(Path(folder), chosen.sessions, chosen.transcript_bytes))


async def measure(folder: Path, sessions: int, transcript_bytes: int) -> None:
    town, state = make_town(folder / "town"), folder / "state"
    state.mkdir()
    started = time.monotonic()
    size = sum(write_transcript(folder, number, transcript_bytes) for number in range(sessions))
    print(f"{sessions} transcripts, {size / 1e6:.0f} MB, written in {time.monotonic() - started:.0f} s")
    database = Database.open(state / "state.db")
    outbox = Outbox(database, prefix="gtftd", source="bench")
    store, evidence = EntryStore(database, state / "entries", outbox), Evidence(database)
    store.prepare()
    spool, scrubber = Spool(state / "spool"), Scrubber({"TOWN_TOKEN": "bench-known-value-0001"}, key=b"k" * 32)
    spool.ensure()
    place = load_town(town)
    history = ConventionHistory(database, lambda: place)
    collector = Collector(
        lambda: place, evidence, store, lambda: scrubber, spool, CollectionSettings(), Metrics(), Activity(), history
    )
    started = time.monotonic()
    for number in range(sessions):
        await tell(evidence, folder, number)
    print(f"evidence of all: {time.monotonic() - started:.1f} s")
    before_mb = peak_mb()
    started, cpu = time.monotonic(), time.process_time()
    await collect_all(collector, [session_id(number) for number in range(sessions)])
    took, cpu = time.monotonic() - started, time.process_time() - cpu
    entries = sum((await store.counts()).values())
    print(f"collect, scrub, store: {entries} entries in {took:.1f} s ({cpu:.1f} s of processor time)")
    rates = f"{entries / took:.0f} entries/s, {size / 1e6 / took:.1f} MB/s"
    print(f"  {rates}, peak RSS {before_mb:.0f} -> {peak_mb():.0f} MB")
    started = time.monotonic()
    await collect_all(collector, [session_id(number) for number in range(sessions)])
    print(f"all of them again, nothing new: {time.monotonic() - started:.1f} s")
    for what in ("full", "nothing new"):
        build(state, what)
    for number in range(sessions, sessions + sessions // 100):
        write_transcript(folder, number, transcript_bytes)
        await tell(evidence, folder, number)
        await collector.reconcile(session_id(number))
    build(state, "1 % new")
    database.close()


def build(state: Path, what: str) -> None:
    started = time.monotonic()
    manifest = build_snapshot(state, SettingsModel(), role="polecat", rig=RIG)
    print(f"snapshot, {what}: {time.monotonic() - started:.2f} s, {manifest.id[:12]}, peak RSS {peak_mb():.0f} MB")


async def collect_all(collector: Collector, session_ids: list[str]) -> None:
    waiting = iter(session_ids)

    async def work(mine: Iterator[str]) -> None:
        for session in mine:
            await collector.reconcile(session)

    await asyncio.gather(*(work(waiting) for _ in range(AT_ONCE)))


def session_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
