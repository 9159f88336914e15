"""Exposure: how many bits of a secret a model gives away (Carlini et al. 2019, arXiv:1802.08232, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST_SKEW, _MOST_SKEW = -0.99, 0.5
"""A skew-normal has less than 0.9953. To the right we believe no more than half of it: from 64 references that nobody
had planted the fit made hundreds of bits by chance, once in a thousand, and none above 12 since."""
_GRID = 4_000
_REACH = 40.0
"""Where the integrand has fallen by e to that."""


def exposure(secret: float, references: Sequence[float]) -> float:
    """In bits, from log-perplexities: of the secret, and of others from the same space that nobody planted.

    By rank (definition 6); a secret that comes before all others is told by the fit (section 4.3), which sees further.
    """
    bits = by_rank(secret, references)
    return max(bits, by_fit(secret, references)) if bits == math.log2(len(references) + 1) else bits


def by_rank(secret: float, references: Sequence[float]) -> float:
    """log2 of the number of candidates, less log2 of the secret's rank among them; of equals it is the last."""
    rank = 1 + sum(one <= secret for one in references)
    return math.log2(len(references) + 1) - math.log2(rank)


def by_fit(secret: float, references: Sequence[float]) -> float:
    """-log2 of the chance that a random candidate is as likely, by a skew-normal fitted to the references.

    Fitted by moments, which have a closed form and always an answer. 0 where all references are the same.
    """
    found = torch.tensor(references, dtype=torch.float64)
    mean, deviation = float(found.mean()), float(found.std(correction=0))
    if deviation <= 1e-9 * max(1.0, abs(mean)):
        return 0.0
    skew = float((((found - mean) / deviation) ** 3).mean())
    slant, delta = _slant(skew)
    scale = deviation / math.sqrt(1 - 2 * delta**2 / math.pi)
    place = mean - scale * delta * math.sqrt(2 / math.pi)
    return max(0.0, -_log_tail((secret - place) / scale, slant) / math.log(2))


def _slant(skew: float) -> tuple[float, float]:
    """Alpha and delta of the skew-normal with this skewness (Azzalini 1985)."""
    skew = max(_LEAST_SKEW, min(_MOST_SKEW, skew))
    root = abs(skew) ** (2 / 3)
    delta = math.copysign(math.sqrt(math.pi / 2 * root / (root + ((4 - math.pi) / 2) ** (2 / 3))), skew)
    return delta / math.sqrt(1 - delta**2), delta


def _log_tail(z: float, slant: float) -> float:
    """Logarithm of the chance of less than z: 2 phi(t) Phi(slant t), summed in logarithms over a grid below z."""
    steepness = max(1.0, -z * (1 + max(slant, 0.0) ** 2))
    span = _REACH / steepness + max(0.0, z)
    grid = z - torch.linspace(0, span, _GRID, dtype=torch.float64)
    heights: Tensor = math.log(2 / math.sqrt(2 * math.pi)) - grid**2 / 2 + torch.special.log_ndtr(slant * grid)
    heights[0] -= math.log(2)  # trapezoids
    return float(heights.logsumexp(0)) + math.log(span / (_GRID - 1))
