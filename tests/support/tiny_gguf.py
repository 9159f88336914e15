"""The tiny base as a GGUF, written by the official writer: what llama.cpp's conversion would make of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.support.tiny_base import CONTEXT, HEAD, HEADS, HIDDEN, KEY_HEADS, LAYERS, MIDDLE, ROWS

NORMAL, UNKNOWN, CONTROL, UNUSED = 1, 2, 3, 5
_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def tiny_gguf(
    path: Path, base: Path, *, family: str = "llama", quantised: bool = False, extra: str | None = None
) -> Path:
    """Of a tiny base of that family, llama, qwen2 or qwen3.

    `quantised`: the projections back from the MLP as Q8_0, whose rows are long enough.
    `extra`: the name of a tensor that does not belong there.
    """
    writer = GGUFWriter(path, family)
    _write_shape(writer)
    _write_tokenizer(writer, base, "gpt-2" if family == "llama" else "qwen2")
    for name, weight in load_file(base / "model.safetensors").items():
        if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = _interleaved(weight, HEADS if "q_proj" in name else KEY_HEADS)
        _write_tensor(writer, _told(name), weight, quantised=quantised)
    if extra:
        writer.add_tensor(extra, np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tensor(writer: GGUFWriter, told: str, weight: NDArray[np.float32], *, quantised: bool) -> None:
    if quantised and "ffn_down" in told:
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(told, quants.quantize(weight, kind), raw_dtype=kind)
    else:
        writer.add_tensor(told, weight)


def _told(name: str) -> str:
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, rest = name.split(".", 3)
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_NAMES[part]}.{kind}"


def _interleaved(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """LlamaModel.permute of llama.cpp's conversion/llama.py."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def _write_shape(writer: GGUFWriter) -> None:
    writer.add_name("Tiny")
    writer.add_license("mit")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MIDDLE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HEAD)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(ROWS)


def _write_tokenizer(writer: GGUFWriter, base: Path, pre: str) -> None:
    told = json.loads((base / "tokenizer.json").read_text())
    tokens = sorted(told["model"]["vocab"], key=told["model"]["vocab"].__getitem__)
    special = {one["content"] for one in told["added_tokens"]}
    types = [CONTROL if token in special else NORMAL for token in tokens]
    unused = [f"[PAD{number}]" for number in range(len(tokens), ROWS)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens + unused)
    writer.add_token_types(types + [UNUSED] * len(unused))
    writer.add_token_merges([" ".join(merge) for merge in told["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_space_prefix(False)
    writer.add_chat_template((base / "chat_template.jinja").read_text())
