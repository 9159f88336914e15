"""Rows of few lengths where each length costs memory: what they say is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from gtftd.schemas.training import LoraSettings
from gtftd.training import attention, determinism, lengths, lora, model
from gtftd.training.layout import Layout, lay_row
from gtftd.training.model import Learner
from gtftd.training.objectives import lay_pair
from tests.support.tiny_base import tiny_base
from tests.support.training_run import some_pair, some_row

RANDOM = np.random.default_rng(0)
LAYOUTS = {
    "row": lay_row(some_row(RANDOM, (13, 40, 7))),
    "one": lay_row(some_row(RANDOM, (50,))),
    "pair": lay_pair(some_pair(RANDOM)),
}


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    """With an adapter that does something, and a window of attention."""
    determinism.prepare(1)
    determinism.seed(0)
    base = tiny_base(tmp_path / "base", family="mistral")
    found = lora.attach(model.load_base(base), LoraSettings(rank=4), begin=None, kind="role")
    found.causal.config.sliding_window = 9
    with torch.no_grad():
        for tensor in found.adapter.values():
            tensor.add_(torch.randn_like(tensor) * 0.05)
    return found


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("kind", LAYOUTS)
def test_longer_rows_say_the_same(learner: Learner, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    losses, gradients = learn(learner, LAYOUTS[kind])

    def extra(length: int, _like: torch.Tensor) -> int:
        return -length % 32

    monkeypatch.setattr(lengths, "extra", extra)
    monkeypatch.setattr(model, "extra", extra)
    longer, theirs = learn(learner, LAYOUTS[kind])
    torch.testing.assert_close(longer, losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(theirs, gradients, rtol=1e-4, atol=1e-6)


def test_in_bfloat16_on_a_cpu_all_lengths_are_rounded_up(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    learner.causal.to(torch.bfloat16)  # type: ignore[arg-type]
    learner.head = learner.head.to(torch.bfloat16)
    seen: set[int] = set()

    def attend(query: torch.Tensor, key: torch.Tensor, *rest: torch.Tensor, **how: object) -> torch.Tensor:
        seen.update((query.shape[-2], key.shape[-2]))
        return functional.scaled_dot_product_attention(query, key, *rest, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "scaled_dot_product_attention", attend)
    learner.trunk.register_forward_hook(lambda _module, _given, out: seen.add(out.last_hidden_state.shape[1]))
    for kind, layout in LAYOUTS.items():
        losses, targets = learner.token_losses(layout)
        assert losses.shape == targets.tokens.shape, kind
    assert seen == {lengths.STEP}


def learn(learner: Learner, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of each token, and the gradients of their sum in one line."""
    losses = learner.token_losses(layout)[0]
    losses.sum().backward()  # type: ignore[no-untyped-call]
    found = torch.cat([one.grad.flatten() for one in learner.adapter.values() if one.grad is not None])
    for one in learner.adapter.values():
        one.grad = None
    return losses.detach(), found
