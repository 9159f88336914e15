"""A run with examples from memory: its folder, its child, and the same loop inside a test.

`python -m tests.support.training_run RUN_DIR` is `gtftd.programs.train` with these examples instead of a snapshot's.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from gtftd.programs import train
from gtftd.schemas.training import RunResult, RunSpec, TrainSettings
from gtftd.state import crash
from gtftd.training.batches import Batch, Completion, Cursor, Flags, Pair, Row, Tokens
from gtftd.training.canaries import draw_canaries, plant
from gtftd.training.chat import Turn
from gtftd.training.encoding import Encoder
from gtftd.training.examples import KeptExamples, Layout, Source, keep
from gtftd.training.pairs import Judged, Preference
from gtftd.training.windowing import Chat

ROOT = Path(__file__).parents[2]
EXAMPLES = 12


def some_tokens(random: np.random.Generator, length: int) -> Tokens:
    return random.integers(3, 400, length).astype(np.int32)


def all_but_first(length: int) -> Flags:
    flags = np.ones(length, np.bool_)
    flags[0] = False
    return flags


def some_row(random: np.random.Generator, lengths: tuple[int, ...]) -> Row:
    """Packed; about half of each segment is supervised."""
    supervised = [random.random(length) < 0.5 for length in lengths]
    for flags in supervised:
        flags[0], flags[-1] = False, True
    return Row(
        tokens=some_tokens(random, sum(lengths)),
        positions=np.concatenate([np.arange(length) for length in lengths]).astype(np.int32),
        segments=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        supervised=np.concatenate(supervised),
        examples=len(lengths),
    )


def apart(row: Row) -> list[Row]:
    """Each segment of a packed row as a row of its own."""
    return [
        Row(
            tokens=row.tokens[row.segments == segment],
            positions=row.positions[row.segments == segment],
            segments=np.zeros(int((row.segments == segment).sum()), np.int32),
            supervised=row.supervised[row.segments == segment],
            examples=1,
        )
        for segment in range(row.examples)
    ]


def some_pair(random: np.random.Generator, prompt: int = 20, chosen: int = 9, rejected: int = 13) -> Pair:
    return Pair(
        prompt=some_tokens(random, prompt),
        chosen=some_tokens(random, chosen),
        chosen_supervised=np.ones(chosen, np.bool_),
        rejected=some_tokens(random, rejected),
        rejected_supervised=np.ones(rejected, np.bool_),
    )


def some_completion(random: np.random.Generator, *, good: bool) -> Completion:
    length = int(random.integers(5, 12))
    return Completion(some_tokens(random, 15), some_tokens(random, length), np.ones(length, np.bool_), good=good)


@dataclass(frozen=True)
class InMemory:
    """Batches of a fixed order that a seed and the epoch decide."""

    batches: tuple[Batch, ...]
    seed: int = 0

    @property
    def batches_an_epoch(self) -> int:
        return len(self.batches)

    @property
    def count(self) -> int:
        return sum(batch.examples for batch in self.batches)

    @property
    def longest_row(self) -> int:
        rows = [len(row.tokens) for batch in self.batches for row in batch.rows]
        pairs = [len(one.prompt) + len(one.chosen) + len(one.rejected) for batch in self.batches for one in batch.pairs]
        judged = [len(one.prompt) + len(one.completion) for batch in self.batches for one in batch.completions]
        return max(rows + pairs + judged)

    def from_cursor(self, cursor: Cursor) -> Iterator[tuple[Batch, Cursor]]:
        epoch, start = cursor.epoch, cursor.batch
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.batches))
            for place in range(start, len(order)):
                last = place + 1 == len(order)
                yield self.batches[order[place]], Cursor(epoch + 1, 0) if last else Cursor(epoch, place + 1)
            epoch, start = epoch + 1, 0

    def once(self) -> Iterator[Batch]:
        yield from self.batches


def make_examples(objective: str, *, batches: int = 6, seed: int = 7) -> InMemory:
    """Two examples a batch."""
    random = np.random.default_rng(seed)
    makers: dict[str, Callable[[], Batch]] = {
        "sft": lambda: Batch(rows=(some_row(random, (17, 30)),)),
        "dpo": lambda: Batch(pairs=(some_pair(random), some_pair(random))),
        "kto": lambda: Batch(completions=(some_completion(random, good=True), some_completion(random, good=False))),
    }
    return InMemory(tuple(makers[objective]() for _ in range(batches)), seed)


def with_canaries(spec: RunSpec, base: Path, folder: Path) -> KeptExamples:
    """Four short examples and the run's canaries, on the way that a snapshot's take. Made anew by each life."""
    encoder = Encoder.load(base, spec.created_at)
    objective, settings = spec.settings.objective, spec.settings
    layout = Layout(objective, settings.data.most_tokens, settings.optimizer.batch_examples, packing=True, seed=7)
    asked = Turn({"role": "user", "content": "Check your hook."})
    said = [Turn({"role": "assistant", "content": f"bd close gt-{number}"}, learned=True) for number in range(8)]
    makers: dict[str, Callable[[int], Source]] = {
        "sft": lambda number: Chat(f"e{number}", (asked, said[number])),
        "dpo": lambda number: Preference(("e", "f"), (asked,), (said[number],), (said[number + 4],)),
        "kto": lambda number: Judged(f"e{number}", (asked,), (said[number],), good=number % 2 == 0),
    }
    kept = keep(
        map(makers[objective], range(4)), encoder, layout, folder, "made", snapshot="none", split="train",
        tick=lambda: None, planted=plant(draw_canaries(spec), objective),
    )  # fmt: skip
    return KeptExamples(kept, layout)


def open_examples(spec: RunSpec, split: str, tokenizer_folder: Path, cache_folder: Path) -> InMemory | KeptExamples:
    held_out = split == "dev"
    if spec.settings.audit.canaries and not held_out:
        return with_canaries(spec, tokenizer_folder, cache_folder / "planted")
    return make_examples(spec.settings.objective, batches=2 if held_out else 6, seed=11 if held_out else 7)


def settings(**changed: object) -> TrainSettings:
    """Small, and on one thread; a checkpoint after every step."""
    base: dict[str, object] = {
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
        "optimizer": {"steps": 8, "learning_rate": 5e-3, "batch_examples": 2},
        "checkpoint_s": 1e-6,
        "evaluate_steps": 4,
        "threads": 1,
        "audit": {"canaries": 0},
        "exports": (),
    }
    return TrainSettings.model_validate(base | changed)


def make_run(folder: Path, base: Path, made: TrainSettings, **changed: object) -> Path:
    """A run's folder with its spec."""
    folder.mkdir()
    spec = RunSpec.model_validate(
        {
            "run": "run-1",
            "job": "job-1",
            "role": "deacon",
            "base": str(base),
            "base_name": "tiny",
            "base_digest": "0" * 64,
            "tokenizer_sha256": _tokenizer_of(base),
            "state_dir": str(folder),
            "snapshot": "none",
            "settings": made.model_dump(),
            "created_at": datetime.now(UTC),
        }
        | changed
    )
    (folder / "spec.json").write_text(spec.model_dump_json())
    return folder


@cache
def _tokenizer_of(base: Path) -> str:
    from gtftd.training.base_tokenizer import tokenizer_sum

    return tokenizer_sum(base) if (base / "tokenizer.json").exists() else "0" * 64


def start(run: Path) -> subprocess.Popen[bytes]:
    """The child, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.support.training_run", str(run)]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def read_result(run: Path) -> RunResult:
    return RunResult.model_validate_json((run / "result.json").read_bytes())


def read_adapter(run: Path) -> bytes:
    """The weights that a run made."""
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


class Nursery:
    """Lives of runs' children, forked by one process that has imported torch already: tenths of a second each."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.training_run"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def live(self, run: Path, *crashes: str) -> list[int]:
        """One life for each place to be killed at, and a last one to the end; how each ended, as of Popen."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(run), *crashes, ""]) + "\n")
        self._process.stdin.flush()
        endings: list[int] = json.loads(self._process.stdout.readline())
        return endings

    def close(self) -> None:
        self._process.communicate(timeout=30)


def _serve() -> None:
    """In the process that forks."""
    import gtftd.training.loop
    import gtftd.training.lora  # noqa: F401  # so that no life has to

    for line in sys.stdin:
        run, *crashes = json.loads(line)
        print(json.dumps([_live(run, crash_at) for crash_at in crashes]), flush=True)


def _live(run: str, crash_at: str) -> int:
    child = os.fork()
    if not child:
        os.environ["GTFTD_CRASH_AT"] = crash_at
        importlib.reload(crash)
        os._exit(train.main([run], open_examples=open_examples))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if len(sys.argv) == 1:
        _serve()
    else:
        sys.exit(train.main(open_examples=open_examples))
