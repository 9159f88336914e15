"""The first 20 steps beside TRL: the same fresh adapter, the same batches in the same order, one process.

Compared are the loss of each step, the gradient of each step (all of it, as a vector), and the adapter at the end: of
both with each other, and of each with TRL in float64, which says whose rounding a difference is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from training_data import Work, as_trl, make
from training_racers import Race, _trainer
from transformers.models.llama.modeling_llama import LlamaRMSNorm

STEPS = 20


def compare(options: argparse.Namespace, folder: Path) -> None:
    work = Work(options.objective, STEPS * 2, 256, 2, packing=False)
    race = Race(
        work, options.base, folder / "data", options.threads, STEPS, 2e-4 if options.objective == "sft" else 5e-5,
        adapter=str(folder / "adapter"),
    )  # fmt: skip
    ours, theirs = _ours(race), _trl(race, torch.float32)
    with _norms_in_float64():
        exact = _trl(race, torch.float64)
    print(f"losses of TRL in float64: {exact.losses[0]:.7f} ... {exact.losses[-1]:.7f}; {STEPS} steps")
    print(f"{'':24}{'worst loss':>12}{'gradient: first':>18}{'worst':>10}{'adapter':>10}")
    for name, one, other in (
        ("ours and TRL", ours, theirs),
        ("ours and TRL in float64", ours, exact),
        ("TRL and TRL in float64", theirs, exact),
    ):
        loss = max(abs(a - b) / abs(b) for a, b in zip(one.losses, other.losses, strict=True))
        off = [_apart(a, b) for a, b in zip(one.gradients, other.gradients, strict=True)]
        print(f"{name:24}{loss:12.1e}{off[0]:18.1e}{max(off):10.1e}{_apart(one.adapter, other.adapter):10.1e}")


@dataclass(frozen=True)
class Steps:
    """What came of one contestant's steps; tensors in one line each, float64."""

    losses: list[float]
    gradients: list[Tensor]
    adapter: Tensor


def _ours(race: Race) -> Steps:
    from gtftd.schemas.training import TrainSettings
    from gtftd.training import determinism
    from gtftd.training.batches import Cursor
    from gtftd.training.lora import attach, write_adapter
    from gtftd.training.model import load_base
    from gtftd.training.objectives import make_objective
    from gtftd.training.schedule import learning_rate

    settings = TrainSettings.model_validate({"objective": race.work.objective})
    examples = make(race.work, race.base, race.data)
    determinism.prepare(race.threads)
    causal = load_base(race.base, dtype=torch.float32)
    determinism.seed(0)
    learner = attach(causal, settings.lora, begin=None, kind="role")
    write_adapter(learner, Path(race.adapter), base_name="base")
    objective, parameters = make_objective(settings, learner), list(learner.adapter.values())
    optimizer = torch.optim.AdamW(parameters, lr=race.rate, weight_decay=0.0)
    batches, losses, gradients = examples.from_cursor(Cursor()), [], []
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        pieces = objective.pieces(next(batches)[0])
        losses.append(sum(_backward(piece) for piece in pieces))
        gradients.append(_line(_named_gradients(learner.causal)))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, STEPS, peak=race.rate, warmup_share=0.0)
        optimizer.step()
    return Steps(losses, gradients, _line(_named(learner.causal)))


def _backward(piece: Tensor) -> float:
    piece.backward()  # type: ignore[no-untyped-call]
    return piece.item()


def _trl(race: Race, dtype: torch.dtype) -> Steps:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    from gtftd.training.schedule import learning_rate

    rows = Dataset.from_list(as_trl(make(race.work, race.base, race.data)))
    model: Any = AutoModelForCausalLM.from_pretrained(race.base, dtype=dtype, attn_implementation="sdpa")
    model = PeftModel.from_pretrained(model, race.adapter, is_trainable=True)
    gradients: list[Tensor] = []

    class Look(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            gradients.append(_line(_named_gradients(model)))

    with tempfile.TemporaryDirectory() as name:
        trainer = _trainer(race, name, model, AutoTokenizer.from_pretrained(race.base), None, rows, checkpointing=False)
        trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(rows)
        trainer.args.max_grad_norm = 0.0  # the look comes after the clipping: it is done by hand, as ours
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1.0, weight_decay=0.0)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(race, learning_rate))
        optimizer.register_step_pre_hook(lambda one, *_: _clip(one))
        trainer.optimizer, trainer.lr_scheduler = optimizer, rate
        trainer.add_callback(Look())
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Steps(losses, gradients, _line(_named(model)))


@contextmanager
def _norms_in_float64() -> Iterator[None]:
    """Those of transformers go through float32, whatever they are given."""
    before = LlamaRMSNorm.forward

    def forward(self: Any, hidden: Tensor) -> Tensor:
        weight: Tensor = self.weight
        return weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    LlamaRMSNorm.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        LlamaRMSNorm.forward = before  # type: ignore[method-assign]


def _rate(race: Race, learning_rate: Callable[..., float]) -> Callable[[int], float]:
    return lambda step: learning_rate(min(step, STEPS - 1), STEPS, peak=race.rate, warmup_share=0.0)


def _clip(optimizer: Any) -> None:
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)


def _named(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {_short(name): tensor.detach().clone() for name, tensor in model.named_parameters() if tensor.requires_grad}
    return dict(sorted(found.items()))


def _named_gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {
        _short(name): tensor.grad.detach().clone()
        for name, tensor in model.named_parameters()
        if tensor.requires_grad and tensor.grad is not None
    }
    return dict(sorted(found.items()))


def _short(name: str) -> str:
    return name[name.index("layers.") :]


def _line(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten().double() for tensor in tensors.values()])


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())
