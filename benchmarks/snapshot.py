"""Snapshots of a large corpus: full and incremental builds, memory, and how well near-duplicates are found.

Run: python benchmarks/snapshot.py [--entries N] [--evals N]
Each build is a process of its own; peak memory is that of the builder with its largest reader beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from array import array
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gtftd.corpus.snapshot.dedupe import Candidate, find_duplicates
from gtftd.corpus.snapshot.words import sketch
from gtftd.corpus.store import EntryStore
from gtftd.schemas.corpus import Entry, Message, Outcome, ToolCall
from gtftd.scrub.sealed import stored
from gtftd.state import Database, Outbox

START = datetime(2026, 1, 1, tzinfo=UTC)
PRIME = "\n".join(f"# Section {i}\n" + "Read this before you do anything else in the rig. " * 30 for i in range(12))
ADDED = 100
CHILD = """
import resource, sys
from gtftd.programs.snapshot import main
main(sys.argv[1:])
print(*(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""


def main() -> None:
    options = _parse()
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        words = vocabulary(random.Random(1))
        began = time.monotonic()
        asyncio.run(fill(state, words, 0, options.entries))
        sizes = [path.stat().st_size for path in (state / "entries" / "objects").glob("*/*.json")]
        print(f"stored    {options.entries} entries of {sum(sizes) / len(sizes) / 1000:.1f} kB, "
              f"{time.monotonic() - began:.1f} s")  # fmt: skip
        config = write_config(state, words, options.evals)
        report("full", state, config)
        report("unchanged", state, config)
        asyncio.run(fill(state, words, options.entries, options.entries + ADDED))
        report(f"{ADDED} more", state, config)
    near_duplicates()


def report(name: str, state: Path, config: Path) -> None:
    """One build in a child; wall clock, processor time of it and its readers, peak memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    command = [sys.executable, "-P", "-c", CHILD, str(state), "--config", str(config)]
    child = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    told = child.stdout.splitlines()
    if child.returncode:
        sys.exit(f"{name}: the build ended with {child.returncode}")
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    manifest = json.loads(told[-2])
    own, reader = (int(value) / 1024 for value in told[-1].split())
    made = f"{manifest['items']} items, {sum(manifest['excluded'].values())} out, ready {manifest['ready']}"
    print(f"{name:<9} {wall:6.2f} s wall, {cpu:6.2f} s CPU, {own:.0f} + {reader:.0f} MiB (builder, reader); {made}")


def vocabulary(chance: random.Random) -> list[str]:
    letters = "etaoinshrdlucmfwypvbgk"
    return ["".join(chance.choices(letters, k=chance.randint(2, 10))) for _ in range(20_000)]


def say(chance: random.Random, words: list[str], count: int) -> str:
    """Words as often as in a language: the few first ones make up most of it."""
    return " ".join(words[int(len(words) * chance.random() ** 3)] for _ in range(count))


def make_entry(number: int, words: list[str]) -> Entry:
    chance = random.Random(number)
    at = START + timedelta(minutes=number)
    messages = [Message(role="system", content=PRIME, kind="meta")]
    for turn in range(18):
        call = ToolCall(
            id=f"c{turn}", name="Bash", arguments={"command": f"cd rig && git diff {say(chance, words, 12)}"}
        )
        messages += [
            Message(role="user", content=say(chance, words, 40), at=at),
            Message(role="assistant", content=say(chance, words, 60), tool_calls=(call,), trainable=True, at=at),
            Message(role="tool", content=say(chance, words, 200), tool_call_id=f"c{turn}", at=at),
        ]
    label = chance.choices(("merged", "completed", "rejected", "unknown"), (50, 25, 15, 10))[0]
    return Entry.model_validate({
        "entry_id": f"e{number:06d}", "origin": f"session:s{number}", "role": chance.choice(("polecat", "crew")),
        "rig": "gastown", "bead": f"gt-{number // 2}", "session_id": f"s{number}", "source": "claude-code",
        "actor": f"gastown/polecats/p{number % 40}", "started_at": at, "ended_at": at + timedelta(minutes=30),
        "outcome": Outcome(label=label, confidence=0.9), "messages": tuple(messages), "scrubber": "1",
    })  # fmt: skip


async def fill(state: Path, words: list[str], start: int, stop: int) -> None:
    database = Database.open(state / "state.db")
    try:
        store = EntryStore(database, state / "entries", Outbox(database, prefix="gtftd", source="benchmark"))
        store.prepare()
        for number in range(start, stop, 32):
            some = range(number, min(number + 32, stop))
            await asyncio.gather(*(store.put(stored(make_entry(one, words))) for one in some))
    finally:
        database.close()
    connection = sqlite3.connect(state / "state.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def write_config(state: Path, words: list[str], evals: int) -> Path:
    chance = random.Random(99)
    items = state / "evals.jsonl"
    items.write_text("".join(json.dumps({"prompt": say(chance, words, 120)}) + "\n" for _ in range(evals)))
    config = state / "config.toml"
    named = f'eval_items = ["{items}"]\n' if evals else ""
    config.write_text(f'[sharing]\nrigs = ["gastown"]\n[snapshots]\n{named}')
    return config


def near_duplicates(count: int = 2000) -> None:
    """Planted at a known similarity, by changing words far from one another."""
    chance = random.Random(5)
    for wanted in (0.9, 0.8, 0.7, 0.6, 0.5):
        found = 0
        for number in range(count):
            a, b = texts_at(wanted, chance)
            pair = [
                Candidate(f"{number}{side}", "sft", f"{number}{side}", sketch(text))
                for side, text in (("a", a), ("b", b))
            ]
            found += len(find_duplicates(pair, 0.8))
        print(f"J = {wanted}: {found} of {count} pairs taken for near-duplicates ({found / count:.1%})")


def texts_at(wanted: float, chance: random.Random, length: int = 400) -> tuple[list[str], list[str]]:
    """Two texts whose three-word shingles have this Jaccard similarity: a changed word takes three."""
    a = [f"w{chance.getrandbits(40)}" for _ in range(length)]
    b = list(a)
    for place in range(round(length * (1 - wanted) / (3 * (1 + wanted)))):
        b[place * 3] = f"w{chance.getrandbits(40)}"
    return a, b


def _parse() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--evals", type=int, default=300, help="eval items of 120 words each")
    return parser.parse_args()


if __name__ == "__main__":
    assert array("I").itemsize == 4
    main()
