"""What a GGUF calls the tensors of a family, and the order of their rows there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gtftd.errors import Refused

if TYPE_CHECKING:
    from gguf import TensorNameMap

    from gtftd.training.export_quants import Floats

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Of a GGUF, by transformers' family."""
CHECKOUT = "set training.llama_cpp_dir to a checkout of llama.cpp, whose converter may know it"
"""What to do about what is not written here."""


@dataclass(frozen=True)
class Names:
    """From transformers to a GGUF of one architecture."""

    architecture: str
    layers: int
    heads: int
    key_heads: int

    def told(self, name: str) -> str:
        """Raises Refused for a tensor that has no name there."""
        found = _map_of(self.architecture, self.layers).get_name(name, (".weight", ".bias"))
        if found is None:
            raise Refused(f"a GGUF of a {self.architecture} has no place for {name}")
        return found

    def ordered(self, name: str, weight: Floats) -> Floats:
        """Rows of query and key projections of a llama, (heads * size, ...), as llama.cpp's rotary positions want them.

        The halves of each head are interleaved: LlamaModel.permute of conversion/llama.py.
        """
        part = name.rpartition(".")[0].rpartition(".")[2]
        if self.architecture != "llama" or part not in ("q_proj", "k_proj"):
            return weight
        heads = self.heads if part == "q_proj" else self.key_heads
        halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


@cache
def _map_of(architecture: str, layers: int) -> TensorNameMap:
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    kind = next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES[arch] == architecture)
    return get_tensor_name_map(kind, layers)
