"""What a GGUF says of a model's shape, from config.json: of families and settings that llama.cpp reads the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gtftd.errors import Refused
from gtftd.training.export_names import CHECKOUT

if TYPE_CHECKING:
    from gguf import GGUFWriter


def write_config(config: Mapping[str, Any], writer: GGUFWriter) -> None:
    """Raises Refused for what would be lost on the way."""
    _check(config)
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or hidden // heads)
    writer.add_type("model")
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(_rope(config)["rope_theta"]))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))


def rope_factors(config: Mapping[str, Any]) -> list[float] | None:
    """By how much each frequency of a head is slowed down, as Llama 3.1 scales its positions; None: not at all.

    As `LlamaModel.generate_extra_tensors` of llama.cpp's conversion/llama.py, which transformers'
    `_compute_llama3_parameters` defines.
    """
    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    size = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    factor, low, high = (float(rope[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    context = float(rope["original_max_position_embeddings"])
    factors = []
    for pair in range(size // 2):
        length = 2 * math.pi * float(rope["rope_theta"]) ** (2 * pair / size)
        smooth = min(max((context / length - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """As transformers 5 writes it, and as those before did."""
    told = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = told.get("rope_type") or told.get("type") or "default"
    return {**told, "rope_type": kind, "rope_theta": told.get("rope_theta") or config.get("rope_theta") or 10_000.0}


def _check(config: Mapping[str, Any]) -> None:
    kind = _rope(config)["rope_type"]
    if kind not in ("default", "llama3"):
        raise Refused(f"positions that are scaled by {str(kind)[:40]!r} are not exported here; {CHECKOUT}")
    windowed = config.get("use_sliding_window", config.get("model_type") == "mistral")
    window = config.get("sliding_window")
    if windowed and window and int(window) < int(config["max_position_embeddings"]):
        raise Refused(f"attention in a window of {window} tokens is not exported here; {CHECKOUT}")
    if config.get("hidden_act", "silu") != "silu":
        raise Refused(f"the activation {str(config['hidden_act'])[:40]!r} is not exported here; {CHECKOUT}")
