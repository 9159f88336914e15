"""The first 20 steps against loops that share no code with ours: plain PEFT, and TRL where it is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from gtftd.schemas.training import LoraSettings, TrainSettings
from gtftd.training import determinism
from gtftd.training.batches import Batch, Cursor, Pair, Row, Tokens
from gtftd.training.lora import attach
from gtftd.training.model import Learner, load_base
from gtftd.training.objectives import make_objective
from gtftd.training.schedule import learning_rate
from tests.support.tiny_base import tiny_base
from tests.support.training_run import InMemory, apart, make_examples

STEPS = 20
RATE = 2e-4
TOLERANCE = 1e-5
"""Relative, float32: sums over tokens, rows and padding come in another order."""
pytestmark = pytest.mark.usefixtures("float32")


@dataclass(frozen=True)
class Trace:
    """Of each step."""

    losses: list[float]
    gradients: list[torch.Tensor]


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_sft_is_that_of_plain_peft(tmp_path: Path, family: str) -> None:
    """Ours: packed rows, hidden states chosen before the head. Theirs: padded rows, whole logits, HF's own loss."""
    base = tiny_base(tmp_path / family, family=family)
    examples = make_examples("sft", batches=7)
    mine = _trace_ours(base, "sft", examples)
    theirs = _trace_plain(base, examples)
    _assert_same(mine, theirs)


def test_dpo_is_that_of_plain_peft(tmp_path: Path) -> None:
    """Ours: the prompt once. Theirs: four plain passes a pair over whole logits, the reference with the adapter off."""
    base = tiny_base(tmp_path / "base")
    examples = make_examples("dpo", batches=7)
    _assert_same(_trace_ours(base, "dpo", examples), _trace_plain(base, examples))


def _assert_same(mine: Trace, theirs: Trace) -> None:
    assert mine.losses == pytest.approx(theirs.losses, rel=TOLERANCE)
    for step, (ours, other) in enumerate(zip(mine.gradients, theirs.gradients, strict=True)):
        assert float((ours - other).norm()) <= TOLERANCE * float(other.norm()), f"step {step}"


def _trace_ours(base: Path, objective: str, examples: InMemory) -> Trace:
    learner = _learner(base)
    optimiser = make_objective(TrainSettings.model_validate({"objective": objective}), learner)
    stepper = _Stepper(list(learner.adapter.values()))
    for batch in _batches(examples):
        loss = 0.0
        for piece in optimiser.pieces(batch):
            piece.backward()  # type: ignore[no-untyped-call]
            loss += piece.item()
        stepper.step(loss)
    return stepper.trace


def _trace_plain(base: Path, examples: InMemory) -> Trace:
    learner = _learner(base)
    learner.causal.set_attn_implementation("sdpa")
    stepper = _Stepper(list(learner.adapter.values()))
    for batch in _batches(examples):
        loss = _plain_sft(learner, batch.rows) if batch.rows else _plain_dpo(learner, batch.pairs)
        loss.backward()  # type: ignore[no-untyped-call]
        stepper.step(loss.item())
    return stepper.trace


def _plain_sft(learner: Learner, packed: Sequence[Row]) -> torch.Tensor:
    """Right-padded, `labels` of -100 where nothing is supervised; the model shifts them and takes the mean."""
    rows = [row for one in packed for row in apart(one)]
    longest = max(len(row.tokens) for row in rows)
    tokens, labels, mask = (torch.full((len(rows), longest), fill) for fill in (2, -100, 0))
    for number, row in enumerate(rows):
        length = len(row.tokens)
        tokens[number, :length] = torch.from_numpy(row.tokens)
        mask[number, :length] = 1
        labels[number, :length] = torch.from_numpy(np.where(row.supervised, row.tokens, -100))
    loss: torch.Tensor = learner.causal(input_ids=tokens, attention_mask=mask, labels=labels).loss
    return loss


def _plain_dpo(learner: Learner, pairs: Sequence[Pair]) -> torch.Tensor:
    losses = []
    for pair in pairs:
        policy = [_plain_log_prob(learner, pair.prompt, one) for one in (pair.chosen, pair.rejected)]
        with torch.no_grad(), learner.peft.disable_adapter():  # type: ignore[attr-defined]
            reference = [_plain_log_prob(learner, pair.prompt, one) for one in (pair.chosen, pair.rejected)]
        losses.append(-functional.logsigmoid(0.1 * ((policy[0] - reference[0]) - (policy[1] - reference[1]))))
    return torch.stack(losses).mean()


def _plain_log_prob(learner: Learner, prompt: Tokens, completion: Tokens) -> torch.Tensor:
    tokens = torch.from_numpy(np.concatenate([prompt, completion])).long()
    logits: torch.Tensor = learner.causal(input_ids=tokens[None]).logits[0, :-1].float()
    said = logits.log_softmax(-1).gather(-1, tokens[1:, None])[:, 0]
    return said[len(prompt) - 1 :].sum()


class _Stepper:
    """AdamW with the schedule of the settings, noting each step before it is taken."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        self._parameters = parameters
        self._optimizer = torch.optim.AdamW(parameters, weight_decay=0.0)
        self.trace = Trace([], [])

    def step(self, loss: float) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        assert torch.isfinite(norm)
        gradients = [parameter.grad.flatten() for parameter in self._parameters if parameter.grad is not None]
        self.trace.losses.append(loss)
        self.trace.gradients.append(torch.cat(gradients).clone())
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(len(self.trace.losses) - 1, STEPS, peak=RATE, warmup_share=0.1)
        self._optimizer.step()
        self._optimizer.zero_grad()


def _learner(base: Path) -> Learner:
    determinism.prepare(1)
    causal = load_base(base)
    determinism.seed(5)
    return attach(causal, LoraSettings(rank=8), begin=None, kind="role")


def _batches(examples: InMemory) -> Iterator[Batch]:
    batches = examples.from_cursor(Cursor())
    for _ in range(STEPS):
        yield next(batches)[0]
