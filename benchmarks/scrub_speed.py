"""How fast the scrubber is, by how much there is to find: processor time on one core."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scrub_recall import town_scrubber
from gtftd.scrub.scrubber import Scrubber
from gtftd.town.conversation import RawCall, RawMessage
from tests.support.planted import sessions, texts_of
from tests.support.planted_clean import clean_texts
from tests.support.planted_contexts import render
from tests.support.planted_encodings import ENCODERS
from tests.support.planted_kinds import kinds

_SMALLEST, _LARGEST = 200, 12_000
_SESSION_BYTES = 200_000


@dataclass(frozen=True)
class Pace:
    """Characters in messages and calls, plants in them, and the processor seconds of the fastest of some runs."""

    name: str
    size: int
    plants: int
    cpu_s: float

    @property
    def mb_s(self) -> float:
        return self.size / 1e6 / self.cpu_s


def sparse(seed: int, size: int, plant_every: int = 20_000) -> Iterator[tuple[list[RawMessage], int]]:
    """Sessions of clean code, prose and tool output in messages of 0.2 to 12 KB, a secret in every `plant_every`."""
    rng = Random(seed)
    made = list(kinds())
    messages: list[RawMessage] = []
    plants = written = since = 0
    for clean in clean_texts(seed, size):
        at = 0
        while at < len(clean.text):
            text = clean.text[at : at + int(_SMALLEST * (_LARGEST / _SMALLEST) ** rng.random())]
            at += len(text)
            since += len(text)
            if since >= plant_every:
                since = 0
                plants += 1
                text = _planted(rng, rng.choice(made), text)
            messages += _turn(rng, len(messages), text)
            written += len(text)
        if written >= _SESSION_BYTES:
            yield messages, plants
            messages, plants, written = [], 0, 0
    yield messages, plants


def _planted(rng: Random, kind: object, text: str) -> str:
    name = rng.choice(sorted(ENCODERS))
    chunks = ENCODERS[name](rng, render(rng, kind, False), False)  # type: ignore[arg-type]
    half = text.find("\n", len(text) // 2) + 1
    return text[:half] + "\n".join(chunks) + "\n" + text[half:]


def _turn(rng: Random, number: int, text: str) -> list[RawMessage]:
    """Two in three are results of tools; the rest is said, or written into a file."""
    draw = rng.random()
    ident = f"toolu_{number:06d}"
    if draw < 0.15:
        return [RawMessage("assistant", text)]
    if draw < 0.30:
        written = RawCall(ident, "Write", {"file_path": "notes.txt", "content": text})
        return [RawMessage("assistant", "", (written,)), RawMessage("tool", "done", tool_call_id=ident)]
    asked = RawCall(ident, "Bash", {"command": "cat notes.txt"})
    return [RawMessage("assistant", "", (asked,)), RawMessage("tool", text, tool_call_id=ident)]


def pace(name: str, make: Callable[[], Scrubber], made: Sequence[tuple[list[RawMessage], int]], runs: int) -> Pace:
    size = sum(len(text) for messages, _ in made for message in messages for text in texts_of(message))
    fastest = float("inf")
    for _ in range(runs):
        scrubber = make()  # one that remembers nothing
        scrubber.scrub_text("warm")
        began = time.process_time()
        for messages, _ in made:
            scrubber.scrub_messages(messages)
        fastest = min(fastest, time.process_time() - began)
    return Pace(name, size, sum(plants for _, plants in made), fastest)


def measure_pace(make: Callable[[], Scrubber], seed: int, mb: float, runs: int = 3) -> Iterator[Pace]:
    size = int(mb * 1e6)
    for name, every in (("clean", 1 << 60), ("one secret in 20 KB", 20_000), ("one secret in 5 KB", 5_000)):
        yield pace(name, make, list(sparse(seed, size, every)), runs)
    dense = [(session.messages, len(session.plants)) for session in sessions(seed, size // 4)]
    yield pace("one secret in 1.6 KB", make, dense, runs)


def shown(found: Pace) -> str:
    per_kb = f"{found.size / 1000 / found.plants:.1f} KB a plant" if found.plants else "no plant"
    return f"  {found.name:22} {found.size / 1e6:6.1f} MB, {per_kb:18} {found.mb_s:6.2f} MB/s of processor time"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, default=4)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    for found in measure_pace(town_scrubber, options.seed, options.mb, options.runs):
        print(shown(found), flush=True)


if __name__ == "__main__":
    main()
