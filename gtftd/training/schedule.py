"""How many steps, and the learning rate of each. Without torch."""

from __future__ import annotations

import math

from gtftd.schemas.training import OptimizerSettings, TrainSettings

SFT_RATE = 2e-4
PREFERENCE_RATE = 5e-6
FLOOR = 0.1
"""Of the peak: where the cosine ends."""


def count_steps(settings: OptimizerSettings, examples: int) -> int:
    """What was asked for, or as many steps as the epochs take: the last one of each has what is left."""
    if settings.steps is not None:
        return settings.steps
    return math.ceil(math.ceil(examples / settings.batch_examples) * settings.epochs)


def peak_rate(settings: TrainSettings) -> float:
    """LoRA wants ten times the rate of full training for SFT; a preference moves a model that is good already."""
    asked = settings.optimizer.learning_rate
    if asked is not None:
        return asked
    return SFT_RATE if settings.objective == "sft" else PREFERENCE_RATE


def learning_rate(step: int, steps: int, *, peak: float, warmup_share: float) -> float:
    """Of step 0, 1, ...: a straight line up to the peak, then a cosine down to a tenth of it at the last step."""
    warmup = math.ceil(steps * warmup_share)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return peak * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * min(1.0, done))) / 2)
