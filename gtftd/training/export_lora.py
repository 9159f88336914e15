"""Adapters alone as a GGUF, which llama.cpp adds to a base: `--lora FILE`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from gtftd.training.export_gguf import sync

if TYPE_CHECKING:
    from gtftd.training.export_metadata import Metadata
    from gtftd.training.export_quants import Floats
    from gtftd.training.export_weights import LowRank, Weights


def write_lora(weights: Weights, metadata: Metadata, path: Path, tick: Callable[[], None]) -> None:
    """A file that is not there yet, float16. Adapters that are stacked become one of the sum of their ranks."""
    from gguf import GGUFWriter

    names = metadata.names()
    alpha, factors = _joined(weights.added)
    writer = GGUFWriter(path, names.architecture)
    try:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        writer.add_name(metadata.name)
        writer.add_file_type(1)
        for name, (a, b) in factors.items():
            told = names.told(name)
            writer.add_tensor(f"{told}.lora_a", a.astype(np.float16))
            writer.add_tensor(f"{told}.lora_b", names.ordered(name, b).astype(np.float16))
            tick()
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    sync(path)


def _joined(added: dict[str, list[LowRank]]) -> tuple[float, dict[str, tuple[Floats, Floats]]]:
    """Alpha, and a and b by weight. llama.cpp scales by alpha / rank of b, one alpha for all of them."""
    scales = {pair.scale for pairs in added.values() for pair in pairs}
    ranks = {sum(pair.a.shape[0] for pair in pairs) for pairs in added.values()}
    if len(scales) == 1 and len(ranks) == 1:
        return scales.pop() * ranks.pop(), {name: _stacked(pairs, [1.0] * len(pairs)) for name, pairs in added.items()}
    # a scale of one for weights of any rank needs an alpha of each; it is put into b, and alpha into that again
    return 1.0, {
        name: _stacked(pairs, [pair.scale * sum(one.a.shape[0] for one in pairs) for pair in pairs])
        for name, pairs in added.items()
    }


def _stacked(pairs: Sequence[LowRank], scales: Sequence[float]) -> tuple[Floats, Floats]:
    """[b1 b2] @ [a1; a2] = b1 @ a1 + b2 @ a2"""
    a = torch.cat([pair.a for pair in pairs], 0).numpy()
    b = torch.cat([pair.b * scale for pair, scale in zip(pairs, scales, strict=True)], 1).numpy()
    return a, b
