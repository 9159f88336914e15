"""The first 20 steps beside TRL: the same fresh adapter, the same batches in the same order, one process.

Compared are the loss of each step, the gradient of each step (all of it, as a vector), and the adapter at the end.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from training_data import Work, as_trl, make
from training_racers import Race, _trainer

STEPS = 20


def compare(options: argparse.Namespace, folder: Path) -> None:
    work = Work(options.objective, STEPS * 2, 256, 2, packing=False)
    race = Race(
        work, options.base, folder / "data", options.threads, STEPS, 2e-4 if options.objective == "sft" else 5e-5,
        adapter=str(folder / "adapter"),
    )  # fmt: skip
    losses, gradients, ended = _ours(race)
    their_losses, their_gradients, their_end = _trl(race)
    worst_loss = max(abs(a - b) / abs(b) for a, b in zip(losses, their_losses, strict=True))
    off = [_apart(a, b) for a, b in zip(gradients, their_gradients, strict=True)]
    print(f"losses      ours {losses[0]:.7f} ... {losses[-1]:.7f}")
    print(f"            theirs {their_losses[0]:.7f} ... {their_losses[-1]:.7f}")
    print(f"            worst relative difference of {STEPS} steps: {worst_loss:.2e}")
    print(f"gradients   of the first step apart by {off[0]:.2e}, worst of {STEPS} steps {max(off):.2e}")
    print(f"adapter     at the end apart by {_apart(ended, their_end):.2e}")


def _ours(race: Race) -> tuple[list[float], list[Tensor], Tensor]:
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
    causal = load_base(race.base)
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
    return losses, gradients, _line(_named(learner.causal))


def _backward(piece: Tensor) -> float:
    piece.backward()  # type: ignore[no-untyped-call]
    return piece.item()


def _trl(race: Race) -> tuple[list[float], list[Tensor], Tensor]:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    from gtftd.training.schedule import learning_rate

    rows = Dataset.from_list(as_trl(make(race.work, race.base, race.data)))
    model: Any = AutoModelForCausalLM.from_pretrained(race.base, dtype=torch.float32, attn_implementation="sdpa")
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
    return losses, gradients, _line(_named(model))


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
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())
