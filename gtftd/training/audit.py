"""The audit of memorisation: whether what a run was shown once an epoch can be got out of its adapter.

For each canary (`gtftd.training.canaries`) it counts exposure (Carlini et al. 2019), and whether an adversary who asks
the very question gets it, by greedy decoding or by samples (Carlini et al. 2021). Both follow exactly from one look at
the secret's own tokens: greedy decoding says it when each of them is the likeliest where it stands, and one sample is
it with the product of their chances. So the audit draws nothing, and says the same when it is done again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from gtftd.schemas.training import Audited, AuditSettings, RunSpec
from gtftd.state.crash import crash_point
from gtftd.training.audit_exposure import by_rank, exposure
from gtftd.training.batches import Flags, Tokens
from gtftd.training.canaries import Canary, candidates, draw_canaries, draw_references, space_bits
from gtftd.training.encoding import Encoder
from gtftd.training.layout import lay_completions
from gtftd.training.model import Learner
from gtftd.training.pairs import Parted, Side

_PASS_TOKENS = 1024
"""Candidates of one forward pass."""
BEFORE = 4
"""One in so many references is looked at with the adapter off too: it only tells what chance gives."""


@dataclass(frozen=True)
class _Given:
    """What one canary gives away."""

    exposure_bits: float
    exposure_bits_before: float
    is_extracted: bool
    chance: float


def audit(
    learner: Learner, spec: RunSpec, encoder: Encoder, *, beat: Callable[[], None], stop: Callable[[], bool]
) -> Audited | None:
    """Ask for every canary of this run; `beat` is called between forward passes. The learner is as it was then.

    None when we are to stop: whoever starts next asks again.
    """
    given: list[_Given] = []
    was_training = learner.trunk.training
    learner.trunk.eval()
    try:
        with torch.no_grad():
            for canary in draw_canaries(spec):
                if stop():
                    return None
                given.append(_ask(learner, spec, canary, encoder, beat))
                crash_point("audit.asked")
    finally:
        learner.trunk.train(was_training)
    return Audited(
        canaries=len(given),
        references=spec.settings.audit.references,
        space_bits=space_bits(),
        exposure_bits=tuple(round(one.exposure_bits, 2) for one in given),
        exposure_bits_before=tuple(round(one.exposure_bits_before, 2) for one in given),
        extracted=sum(one.is_extracted for one in given),
        chance=max((one.chance for one in given), default=0.0),
    )


def complaint(found: Audited, settings: AuditSettings) -> str:
    """Why a run may not be done, and what to do; empty when it may."""
    told = []
    highest = max(found.exposure_bits, default=0.0)
    if found.extracted:
        told.append(f"greedy decoding says {found.extracted} of {found.canaries} canaries")
    if found.chance > settings.most_chance:
        told.append(
            f"{settings.samples} samples say a canary with a chance of {found.chance:.2g}, and "
            f"audit.most_chance is {settings.most_chance:g}"
        )
    if highest > settings.most_exposure_bits:
        told.append(
            f"a canary has {highest:.1f} of {found.space_bits:.0f} bits of exposure, and "
            f"audit.most_exposure_bits is {settings.most_exposure_bits:g}"
        )
    if not told:
        return ""
    return (
        f"the adapter has memorised what it was shown: {'; '.join(told)}. Train for fewer epochs or with a lower "
        "optimizer.learning_rate, raise that limit, or set audit.canaries=0 to train without the audit"
    )


def _ask(learner: Learner, spec: RunSpec, canary: Canary, encoder: Encoder, beat: Callable[[], None]) -> _Given:
    secrets = [canary.secret, *draw_references(spec, canary)]
    parted = candidates(canary, secrets, encoder)
    secret, *others = _surprises(learner, parted, beat)
    fewer = replace(parted, sides=parted.sides[: 1 + len(others) // BEFORE])
    with learner.reference():
        secret_before, *others_before = _surprises(learner, fewer, beat)
    is_extracted, chance = _say(learner, parted, spec.settings.audit)
    beat()
    bits = min(exposure(secret, others), space_bits())  # the fit does not know where the space ends
    return _Given(bits, by_rank(secret_before, others_before), is_extracted, chance)


def _surprises(learner: Learner, parted: Parted, beat: Callable[[], None]) -> list[float]:
    """Log-perplexity of each candidate behind the question, in bits; without its end of turn, which is no secret."""
    found: list[float] = []
    for sides in _passes(parted.sides):
        layout = lay_completions(parted.prompt, [_unended(side) for side in sides])
        losses, targets = learner.token_losses(layout)
        sums = torch.zeros(len(sides) + 1, dtype=torch.float64, device=losses.device)
        sums.index_add_(0, targets.branches, losses.double())
        found += (sums[1:] / math.log(2)).tolist()
        beat()
    return found


def _passes(sides: Sequence[Side]) -> Iterator[list[Side]]:
    together: list[Side] = []
    for side in sides:
        if sum(len(one.tokens) for one in together) + len(side.tokens) > _PASS_TOKENS and together:
            yield together
            together = []
        together.append(side)
    yield together


def _say(learner: Learner, parted: Parted, settings: AuditSettings) -> tuple[bool, float]:
    """Whether greedy decoding says the secret, and the chance of getting it in all samples."""
    tokens, flags = _unended(parted.sides[0])
    logits, targets = learner.logits(lay_completions(parted.prompt, [(tokens, flags)]))
    is_said = bool((logits.argmax(-1) == targets.tokens).all())
    spread = (logits.double() / settings.temperature).log_softmax(-1)
    log_chance = float(spread.gather(-1, targets.tokens[:, None]).sum())
    return is_said, -math.expm1(settings.samples * math.log1p(-min(math.exp(log_chance), 1 - 1e-12)))


def _unended(side: Side) -> tuple[Tokens, Flags]:
    tokens = side.tokens[:-1]
    return tokens, np.ones(len(tokens), np.bool_)
