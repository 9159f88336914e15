"""Attention within each sequence of a row: no mask of the whole row, no work between sequences that do not meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from gtftd.training.layout import Layout
from gtftd.training.lengths import lengthen

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "gtftd_sequences"


@dataclass(frozen=True)
class Stretch:
    """Tokens that follow one another in one sequence."""

    start: int
    end: int
    prompt: int = 0
    """They also see so many tokens at the row's beginning."""


def stretches(layout: Layout) -> tuple[Stretch, ...]:
    """One for each sequence; a prompt that completions share is one of its own."""
    if layout.is_plain:
        return (Stretch(0, len(layout.tokens)),)
    starts = [0, *(np.flatnonzero(np.diff(layout.branches)) + 1).tolist(), len(layout.tokens)]
    prompt = starts[1] if layout.shares_prompt else 0
    return tuple(Stretch(start, end, prompt if start else 0) for start, end in pairwise(starts))


def use_stretches(causal: PreTrainedModel) -> None:
    """Make `causal` attend by `forward`; each call of its trunk must then name its `stretches`."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, forward)
    AttentionMaskInterface.register(NAME, _no_mask)
    causal.set_attn_implementation(NAME)


def forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    stretches: Sequence[Stretch],
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """As transformers calls it: query (1, heads, length, head), key and value with fewer heads -> (1, length, heads,
    head). A family with a window sees no further than that within its sequence.
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    parts = []
    for one in stretches:
        own = slice(one.start, one.end)
        keys, values = key[:, :, own], value[:, :, own]
        if one.prompt:
            keys = torch.cat([key[:, :, : one.prompt], keys], 2)
            values = torch.cat([value[:, :, : one.prompt], values], 2)
        queries, keys, values = (lengthen(tensor) for tensor in (query[:, :, own], keys, values))
        mask = _mask(one, sliding_window, queries, keys)
        out = scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, scale=scaling, is_causal=mask is None
        )
        parts.append(out[:, :, : one.end - one.start])
    whole = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
    return whole.transpose(1, 2).contiguous(), None


def _mask(one: Stretch, window: int | None, queries: Tensor, keys: Tensor) -> Tensor | None:
    """(queries, keys); None where plain causality says it."""
    own, seen = queries.shape[-2], keys.shape[-2]
    if not one.prompt and (window is None or own <= window):
        return None
    mask = torch.ones(own, seen, dtype=torch.bool, device=queries.device).tril(one.prompt)
    return mask if window is None else mask.triu(one.prompt - window + 1)


def _no_mask(*_: object, **__: object) -> None:
    """Transformers asks for one before each pass; `forward` needs none."""
