"""What a run optimises: SFT, DPO or KTO. Each gives a batch's mean loss in pieces, one graph at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from gtftd.schemas.training import PreferenceSettings, TrainSettings
from gtftd.training.batches import Batch, Completion, Flags, Pair, Row, Tokens
from gtftd.training.layout import Layout, lay_completions, lay_row
from gtftd.training.losses import dpo_loss, kto_loss
from gtftd.training.model import Learner

CACHED_REFERENCES = 100_000
"""Each takes 730 bytes; more would be a leak in a run without end."""


class Objective(Protocol):
    def weigh(self, batch: Batch) -> float:
        """What the mean is taken over."""
        ...

    def pieces(self, batch: Batch) -> Iterator[Tensor]:
        """Scalars whose sum is the batch's mean loss. Go backward on each before taking the next."""
        ...


def make_objective(settings: TrainSettings, learner: Learner) -> Objective:
    makers: dict[str, Callable[[], Objective]] = {
        "sft": lambda: Sft(learner),
        "dpo": lambda: Dpo(learner, settings.preferences),
        "kto": lambda: Kto(learner, settings.preferences),
    }
    return makers[settings.objective]()


class Sft:
    """Cross-entropy over the supervised tokens: the mean is over all of a step's, so packing changes nothing.

    A token has the weight of its example: what is half as much to be followed counts half.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def weigh(self, batch: Batch) -> float:
        return sum(row.weight for row in batch.rows)

    def pieces(self, batch: Batch) -> Iterator[Tensor]:
        total = self.weigh(batch)
        for row in batch.rows:
            if row.weight:
                yield self._sum(row) / total

    def _sum(self, row: Row) -> Tensor:
        losses, targets = self._learner.token_losses(lay_row(row))
        if not row.weights:
            return losses.sum()
        weights = torch.tensor(row.weights, dtype=losses.dtype, device=losses.device)
        return (losses * weights[targets.branches]).sum()


class Dpo:
    """The prompt of a pair is computed once, for both completions; the reference's answers once a run."""

    def __init__(self, learner: Learner, settings: PreferenceSettings) -> None:
        self._learner = learner
        self._settings = settings
        self._references = References(learner)

    def weigh(self, batch: Batch) -> float:
        return float(sum(pair.weight for pair in batch.pairs))

    def pieces(self, batch: Batch) -> Iterator[Tensor]:
        total = self.weigh(batch)
        for pair in batch.pairs if total else ():
            layout = lay_pair(pair)
            reference = self._references.log_probs(layout, 2)
            chosen, rejected = log_probs(self._learner, layout, 2) - reference
            loss = dpo_loss(chosen, rejected, beta=self._settings.beta, label_smoothing=self._settings.label_smoothing)
            yield loss * (pair.weight / total)


class Kto:
    """The baseline z0 (eq. 8) is estimated from the batch: each prompt with the completion of the next example."""

    def __init__(self, learner: Learner, settings: PreferenceSettings) -> None:
        self._learner = learner
        self._settings = settings
        self._references = References(learner)

    def weigh(self, batch: Batch) -> float:
        return float(sum(one.weight for one in batch.completions))

    def pieces(self, batch: Batch) -> Iterator[Tensor]:
        total = self.weigh(batch)
        baseline = self.baseline(batch.completions)
        for one in batch.completions if total else ():
            layout = lay_completions(one.prompt, [(one.completion, one.supervised)])
            ratio = self._ratio(layout)
            weight = self._settings.desirable_weight if one.good else self._settings.undesirable_weight
            loss = kto_loss(ratio, baseline, good=one.good, beta=self._settings.beta, weight=weight)
            yield loss * (one.weight / total)

    @torch.no_grad()
    def baseline(self, completions: Sequence[Completion]) -> Tensor:
        """z0, never below 0; 0 for one example alone, which has nobody to be compared with."""
        if len(completions) < 2:
            return torch.zeros((), device=self._learner.device)
        following = [*completions[1:], completions[0]]
        layouts = [
            lay_completions(one.prompt, [(other.completion, other.supervised)])
            for one, other in zip(completions, following, strict=True)
        ]
        return torch.stack([self._ratio(layout) for layout in layouts]).mean().clamp(min=0)

    def _ratio(self, layout: Layout) -> Tensor:
        reference = self._references.log_probs(layout, 1)  # first: it may swap the weights
        return (log_probs(self._learner, layout, 1) - reference)[0]


class References:
    """Log-probs under the reference, remembered by content: the same tokens have the same for the whole run."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._known: dict[bytes, Tensor] = {}

    def log_probs(self, layout: Layout, completions: int) -> Tensor:
        """(completions,)"""
        key = _digest(layout)
        if key not in self._known:
            if len(self._known) >= CACHED_REFERENCES:
                self._known.clear()
            with self._learner.reference():
                self._known[key] = log_probs(self._learner, layout, completions)
        return self._known[key]


def lay_pair(pair: Pair) -> Layout:
    return lay_completions(pair.prompt, _completions(pair))


def log_probs(learner: Learner, layout: Layout, completions: int) -> Tensor:
    """(completions,) in float64: summed over the supervised tokens of each; 0 for one without any.

    Ratios are small differences of large sums: of -2000 float32 keeps 1e-4, and the first losses hang on less.
    """
    losses, targets = learner.token_losses(layout)
    exact = losses.double()
    per_completion = [exact[targets.branches == branch].sum() for branch in range(1, completions + 1)]
    return -torch.stack(per_completion)


def log_probs_apart(learner: Learner, pair: Pair) -> Tensor:
    """(2,): what `log_probs` says of a pair, by two plain passes over prompt and completion: slower, and simpler."""
    alone = [log_probs(learner, lay_completions(pair.prompt, [one]), 1) for one in _completions(pair)]
    return torch.cat(alone)


def _completions(pair: Pair) -> list[tuple[Tokens, Flags]]:
    return [(pair.chosen, pair.chosen_supervised), (pair.rejected, pair.rejected_supervised)]


def _digest(layout: Layout) -> bytes:
    parts = (layout.tokens, layout.branches, layout.supervised)
    return hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).digest()
