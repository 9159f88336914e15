"""Losses: what the model should have said, cross-entropy without whole logits, DPO and KTO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gtftd.training.layout import Layout
from gtftd.training.lengths import lengthen

CHUNK_TOKENS = 256
"""Logits exist for so many tokens at a time: 50 MB with a vocabulary of 49,152 in float32."""


@dataclass(frozen=True)
class Targets:
    """What is to be predicted, and from where."""

    where: Tensor
    """(n,): the positions whose hidden states predict."""
    tokens: Tensor
    """(n,): what they are to predict."""
    branches: Tensor
    """(n,): the sequence each belongs to."""


def shift(layout: Layout, device: torch.device | str = "cpu") -> Targets:
    """The only place where labels are shifted: a supervised token is predicted where the token before it stands."""
    supervised = layout.supervised & (layout.previous >= 0)
    picked = (layout.previous[supervised], layout.tokens[supervised], layout.branches[supervised])
    where, tokens, branches = (torch.from_numpy(one.astype("int64")).to(device) for one in picked)
    return Targets(where, tokens, branches)


def token_losses(hidden: Tensor, head: Tensor, bias: Tensor | None, tokens: Tensor) -> Tensor:
    """-log p of each token, (n,) in float32, from hidden states (n, hidden) that were chosen before the head.

    Logits live for CHUNK_TOKENS tokens. The head must be frozen: no gradient flows into it.
    """
    losses: Tensor = _TokenLosses.apply(hidden, head, bias, tokens)  # type: ignore[no-untyped-call]
    return losses


def dpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """DPO, Rafailov et al. 2023 (arXiv:2305.18290) eq. 7; smoothed as in its "conservative" form (Mitchell 2023).

    `chosen`, `rejected`: log-ratios of policy and reference, summed over the completion, any shape; each its own loss.
    """
    margin = beta * (chosen - rejected)
    right, wrong = functional.logsigmoid(margin), functional.logsigmoid(-margin)
    return -(1 - label_smoothing) * right - label_smoothing * wrong


def kto_loss(ratio: Tensor, baseline: Tensor, *, good: bool, beta: float, weight: float) -> Tensor:
    """KTO, Ethayarajh et al. 2024 (arXiv:2402.01306) eq. 8: weight minus value; `baseline` is z0, without gradient."""
    gain = ratio - baseline if good else baseline - ratio
    return weight * (1 - torch.sigmoid(beta * gain))


class _TokenLosses(torch.autograd.Function):
    """The gradient of each token's loss is made in the forward pass, while its logits exist: no second pass over the
    head. (n, hidden) is kept instead of (n, vocabulary).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, bias: Tensor | None, tokens: Tensor) -> Tensor:
        needs, count = ctx.needs_input_grad[0], len(tokens)
        hidden = lengthen(hidden)
        tokens = functional.pad(tokens, (0, len(hidden) - count))
        losses = torch.empty(len(tokens), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if needs else None
        for start in range(0, len(tokens), CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            logits = functional.linear(hidden[part], head, bias).float()  # (chunk, vocabulary)
            picked = tokens[part, None]
            total = logits.logsumexp(-1, keepdim=True)
            losses[part] = (total - logits.gather(-1, picked)).squeeze(-1)
            if gradient is not None:
                logits.sub_(total).exp_()  # probabilities
                logits.scatter_add_(-1, picked, torch.full_like(total, -1.0))
                gradient[part] = logits.to(head.dtype) @ head
        ctx.save_for_backward(gradient if gradient is None else gradient[:count])
        return losses[:count]

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        if gradient is None:
            return None, None, None, None
        return gradient * outputs[0][:, None].to(gradient.dtype), None, None, None
