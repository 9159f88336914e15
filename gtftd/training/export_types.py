"""In which type each tensor of a GGUF is stored, by the form that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtftd.schemas.training import ExportForm

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

FILE_TYPES: dict[ExportForm, int] = {"gguf-f16": 1, "gguf-q8_0": 7, "gguf-q4_k_m": 15}
"""`general.file_type`, as llama.h numbers them."""
_SUPER_BLOCK = 256
_FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""Of rows that are no multiple of 256."""
_LAYERS_OF_70B = 80


def type_of(form: ExportForm, name: str, shape: tuple[int, ...], *, layers: int, tied: bool) -> GGMLQuantizationType:
    """Of the tensor that a GGUF calls `name`; rows are the last of `shape`. As llama.cpp's converter and its
    `llama_tensor_get_type` (llama-quant.cpp) choose for models without experts.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) < 2 or "_norm." in name:
        return GGMLQuantizationType.F32
    chosen = {"gguf-q8_0": "Q8_0", "gguf-q4_k_m": _mixture(name, layers, tied=tied)}.get(form, "F16")
    if chosen in _FALLBACKS and shape[-1] % _SUPER_BLOCK:
        chosen = _FALLBACKS[chosen]
    kind = GGMLQuantizationType[chosen]
    return GGMLQuantizationType.F16 if shape[-1] % GGML_QUANT_SIZES[kind][0] else kind


def _mixture(name: str, layers: int, *, tied: bool) -> str:
    """Q4_K_M: the head, and the values and the way back from the MLP of some layers, are stored more finely."""
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return "Q6_K"
    if name.endswith(("attn_v.weight", "ffn_down.weight")):
        if _is_fine(int(name.split(".")[1]), layers):
            return "Q6_K"
        if name.endswith("attn_v.weight") and layers == _LAYERS_OF_70B:
            return "Q5_K"
    return "Q4_K"


def _is_fine(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
