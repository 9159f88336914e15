"""What the racers of `training.py` learn from: chats in the shape of agents' sessions, as tokens, the same for all.

Texts are the project's own docs: a role's prompt, a request, and turns of the agent that run commands and read what
these print. A sixth to a third of the tokens is the agent's, as in sessions.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from gtftd.scrub import PLACEHOLDER
from gtftd.training.chat import Turn
from gtftd.training.encoding import Encoder
from gtftd.training.examples import KeptExamples, Layout, keep
from gtftd.training.kept import Reader
from gtftd.training.pairs import Preference
from gtftd.training.windowing import Chat

DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Work:
    """Which examples, and how they become batches."""

    objective: str
    examples: int
    most_tokens: int
    batch_examples: int
    packing: bool = True


def make(work: Work, base: Path, folder: Path) -> KeptExamples:
    """Made once in `folder`, and read from there by every racer."""
    layout = Layout(work.objective, work.most_tokens, work.batch_examples, work.packing, seed=0)  # type: ignore[arg-type]
    found = Reader.open(folder, "benchmark")
    if found is None:
        encoder = Encoder.load(base, datetime(2026, 1, 1, tzinfo=UTC))
        sources = list(_pairs(work) if work.objective == "dpo" else _chats(work))
        found = keep(
            sources, encoder, layout, folder, "benchmark", snapshot="benchmark", split="train", tick=lambda: None
        )
    return KeptExamples(found, layout)


def _chats(work: Work) -> list[Chat]:
    draw = random.Random(1)
    lines = _lines()
    return [Chat(f"e{number}", tuple(_session(draw, lines, work.most_tokens))) for number in range(work.examples)]


def _pairs(work: Work) -> list[Preference]:
    """Two short endings of one long session: what a review takes and what it sends back."""
    draw = random.Random(2)
    lines = _lines()
    made = []
    for number in range(work.examples):
        prompt = tuple(_unlearned(turn) for turn in _session(draw, lines, int(work.most_tokens * 0.8)))
        prompt = prompt if prompt[-1].role != "assistant" else (*prompt, _turn("user", "Go on."))
        endings = [(_turn("assistant", _text(draw, lines, 60), learned=True),) for _ in range(2)]
        made.append(Preference((f"a{number}", f"b{number}"), prompt, *endings))
    return made


def _session(draw: random.Random, lines: list[str], most_tokens: int) -> list[Turn]:
    """Somewhere between a third of the window and nearly all of it."""
    left = int(draw.uniform(0.35, 0.85) * most_tokens)
    turns = [_turn("system", _text(draw, lines, left // 6)), _turn("user", _text(draw, lines, left // 10))]
    left -= left // 6 + left // 10
    while left > 0:
        said, printed = draw.randint(15, 60), draw.randint(40, 160)
        turns.append(_turn("assistant", _text(draw, lines, said), learned=True))
        turns.append(_turn("user", _text(draw, lines, printed)))
        left -= said + printed
    turns[-1] = _turn("assistant", _text(draw, lines, 30), learned=True)
    return turns[: -1 if turns[-2].role == "assistant" else None]


def _text(draw: random.Random, lines: list[str], tokens: int) -> str:
    """About so many tokens of it: three and a half characters each."""
    start = draw.randrange(len(lines))
    found = ""
    while len(found) < tokens * 3.5:
        found += lines[start % len(lines)] + "\n"
        start += 1
    return found[: int(tokens * 3.5)].strip() or "yes"


def _lines() -> list[str]:
    """None with a placeholder of the scrubber: we don't learn it, and what TRL learns of a pair cannot be told it."""
    pages = sorted(DOCS.glob("*.md"))
    lines = [line for page in pages for line in page.read_text().splitlines() if len(line) > 40]
    return [line for line in lines if not PLACEHOLDER.search(line)]


def _turn(role: str, content: str, *, learned: bool = False) -> Turn:
    return Turn({"role": role, "content": content}, learned=learned)


def _unlearned(turn: Turn) -> Turn:
    return Turn(turn.message)


def describe(examples: KeptExamples) -> str:
    report = examples.report
    share = report.supervised_tokens / report.tokens
    return json.dumps(
        {"examples": report.examples, "tokens": report.tokens, "supervised": round(share, 3),
         "longest": report.longest_tokens, "mean": round(report.tokens / max(1, report.examples))}
    )  # fmt: skip


def as_trl(examples: KeptExamples) -> list[dict[str, list[int]]]:
    """In the order in which ours takes them in its first epoch, as TRL's trainers read tokenised datasets."""
    rows = []
    for batch in examples.once():
        for pair in batch.pairs:
            rows.append(
                {"prompt_ids": pair.prompt.tolist(), "chosen_ids": pair.chosen.tolist(),
                 "rejected_ids": pair.rejected.tolist()}
            )  # fmt: skip
        for row in batch.rows:
            for segment in range(row.examples):
                of = row.segments == segment
                tokens, supervised = row.tokens[of], row.supervised[of]
                labels = np.where(supervised, tokens, -100)
                rows.append({"input_ids": tokens.tolist(), "labels": labels.tolist()})
    return rows
