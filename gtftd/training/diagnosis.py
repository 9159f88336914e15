"""Why a run diverged or learned nothing, for a person."""

from __future__ import annotations

import torch

from gtftd.training.checkpoint import TrainState
from gtftd.training.model import Learner


def diagnose(learner: Learner, learning_rate: float) -> str:
    """Looks at every weight: only for a run that has failed."""
    base = next((name for name, weight in learner.causal.named_parameters() if not _is_finite(weight, name)), None)
    if base is not None:
        return f"The base itself holds NaN or Inf in {base}: add the base again from a whole source"
    if any(not bool(torch.isfinite(weight).all()) for weight in learner.adapter.values()):
        return f"The adapter's own weights are NaN or Inf: lower optimizer.learning_rate, {learning_rate:g} at its peak"
    return (
        f"The weights are sound, and the numbers overflow on the way: look at those examples, or lower "
        f"optimizer.learning_rate, {learning_rate:g} at its peak"
    )


def problems_of(state: TrainState) -> tuple[str, ...]:
    """Of a run that came to its end: rubbish is learned in finite numbers, too."""
    before, after = state.held_out_before, state.held_out_after
    if before is None or after is None or after < before:
        return ()
    return (
        f"the held-out loss did not fall, {before:.4g} before and {after:.4g} after: look at the examples, "
        f"at optimizer.steps, {state.steps}, and at optimizer.learning_rate, {state.peak_rate:.3g} at its peak",
    )


def _is_finite(weight: torch.Tensor, name: str) -> bool:
    return ".lora_" in name or bool(torch.isfinite(weight).all())
