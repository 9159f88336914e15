"""A GGUF made into a plain directory, tensor by tensor: memory for one shard, not for the model.

Names and the order of the rows as in llama.cpp's conversion/llama.py, turned round. What was stored in float32 or
float16 stays so; everything quantised becomes bfloat16.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtftd.errors import Invalid, Refused
from gtftd.training.base_files import INDEX, WHOLE

SHARD_BYTES = 2_000_000_000
ARCHITECTURES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
_WHOLE_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip
_OF_LAYER = re.compile(r"blk\.(\d{1,4})\.([a-z_]+)\.(weight|bias)")
Floats = NDArray[np.float32]


def dequantise(source: Path, folder: Path) -> str | None:
    """Write config, tokenizer and weights of a GGUF into a folder; returns the licence that it states.

    Raises Refused for an architecture that is not known here, Invalid for a tensor that has no place in it.
    """
    from gguf import GGUFReader

    reader = GGUFReader(source)
    architecture = _text(reader, "general.architecture") or ""
    if architecture not in ARCHITECTURES:
        raise Refused(
            f"{source.name} is of the architecture {architecture[:40]!r}; known are {', '.join(ARCHITECTURES)}. "
            "Add its directory of safetensors instead"
        )
    if (_text(reader, "split.count") or "0") not in ("0", "1"):
        raise Refused(f"{source.name} is one part of several; join them with `llama-gguf-split --merge` first")
    if (scaling := _text(reader, f"{architecture}.rope.scaling.type") or "none") != "none":
        raise Refused(f"{source.name} scales its positions ({scaling}); add its directory of safetensors instead")
    with _alone(source, folder) as file:
        config = _write_config(file, folder)
        _write_tokenizer(file, folder, context=config["max_position_embeddings"])
    # transformers overlooks this key for qwen3, and takes 128 where a size is not told
    told = _text(reader, f"{architecture}.attention.key_length")
    config["head_dim"] = int(told) if told else config["hidden_size"] // config["num_attention_heads"]
    heads = (config["num_attention_heads"], config["num_key_value_heads"])
    dtype = _dtype_of(reader)
    _write_config_dtype(folder, config, dtype)
    _Shards(folder).write(_weights(reader, heads if architecture == "llama" else None), dtype)
    return _text(reader, "general.license")


def name_of(name: str) -> str:
    """The name in transformers of a tensor of a GGUF. Raises Refused for one that has none."""
    if name in _WHOLE_NAMES:
        return _WHOLE_NAMES[name]
    found = _OF_LAYER.fullmatch(name)
    if found is None or found[2] not in _LAYER_NAMES:
        raise Refused(
            f"the GGUF holds {name[:64]!r}, which is not understood here (rope_freqs: scaled positions); "
            "add the model's directory of safetensors instead"
        )
    return f"model.layers.{int(found[1])}.{_LAYER_NAMES[found[2]]}.{found[3]}"


def unpermuted(weight: Floats, heads: int) -> Floats:
    """Rows of a query or key projection, (heads * size, hidden), in the order of transformers: llama.cpp interleaves
    the two halves of each head for its kind of rotary positions.
    """
    halves = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def _weights(reader: Any, permuted_heads: tuple[int, int] | None) -> Iterator[tuple[str, Floats]]:
    from gguf.quants import dequantize

    for tensor in reader.tensors:
        name = name_of(tensor.name)
        try:
            weight: Floats = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        except (NotImplementedError, ValueError) as error:
            raise Refused(
                f"{tensor.name[:64]} is stored as {tensor.tensor_type.name}, which is not read here"
            ) from error
        if not np.isfinite(weight).all():
            raise Invalid(f"{tensor.name[:64]} holds NaN or Inf")
        if permuted_heads and name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = unpermuted(weight, permuted_heads["k_proj" in name])
        yield name, weight


def _dtype_of(reader: Any) -> str:
    """Of the embedding's file type: what is not full precision becomes bfloat16."""
    names = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    if names == {"F32"}:
        return "float32"
    return "float16" if names == {"F16"} else "bfloat16"


def _text(reader: Any, key: str) -> str | None:
    field = reader.fields.get(key)
    return str(field.contents())[:200] if field is not None else None


@contextlib.contextmanager
def _alone(source: Path, folder: Path) -> Iterator[Path]:
    """In a place of its own: transformers heeds what lies beside a GGUF, be it another model's."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        link = Path(place) / source.name
        link.symlink_to(source)
        yield link


def _write_config(source: Path, folder: Path) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        config: dict[str, Any] = AutoConfig.from_pretrained(
            source.parent, gguf_file=source.name, trust_remote_code=False
        ).to_dict()
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise Invalid(f"transformers cannot read the header of {source.name}: {str(error)[:300]}") from error
    if config.get("model_type") not in ARCHITECTURES:
        raise Refused(f"{source.name} is read as a {config.get('model_type')!r}; known are {', '.join(ARCHITECTURES)}")
    for key in ("_name_or_path", "_model_name_or_path", "quantization_config", "unk_token_id"):
        config.pop(key, None)
    config["architectures"] = [f"{ARCHITECTURES[config['model_type']]}ForCausalLM"]
    ids = {key: config.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(folder / "generation_config.json", {key: value for key, value in ids.items() if value is not None})
    return config


def _write_config_dtype(folder: Path, config: dict[str, Any], dtype: str) -> None:
    _write_json(folder / "config.json", config | {"dtype": dtype})


def _write_tokenizer(source: Path, folder: Path, *, context: int) -> None:
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
    except (ValueError, LookupError, TypeError, OSError) as error:
        raise Invalid(f"transformers cannot read the tokenizer of {source.name}: {str(error)[:300]}") from error
    tokenizer.model_max_length = context
    tokenizer.save_pretrained(folder)


class _Shards:
    """Files of at most so many bytes, and an index when there is more than one."""

    def __init__(self, folder: Path, most_bytes: int = SHARD_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._shards: list[list[str]] = []
        self._held: dict[str, Any] = {}
        self._held_bytes = 0
        self._total_bytes = 0

    def write(self, weights: Iterator[tuple[str, Floats]], dtype: str) -> None:
        import torch

        kind: torch.dtype = getattr(torch, dtype)
        for name, weight in weights:
            tensor = torch.from_numpy(np.array(weight, copy=not weight.flags.writeable)).to(kind)
            if self._held and self._held_bytes + tensor.nbytes > self._most_bytes:
                self._flush()
            self._held[name] = tensor
            self._held_bytes += tensor.nbytes
        self._flush()
        self._name_shards()

    def _flush(self) -> None:
        from safetensors.torch import save_file

        save_file(self._held, self._folder / f"shard-{len(self._shards):05}.safetensors", metadata={"format": "pt"})
        self._shards.append(sorted(self._held))
        self._total_bytes += self._held_bytes
        self._held, self._held_bytes = {}, 0

    def _name_shards(self) -> None:
        count = len(self._shards)
        placed: dict[str, str] = {}
        for number, names in enumerate(self._shards):
            told = WHOLE if count == 1 else f"model-{number + 1:05}-of-{count:05}.safetensors"
            (self._folder / f"shard-{number:05}.safetensors").rename(self._folder / told)
            placed |= dict.fromkeys(names, told)
        if count > 1:
            _write_json(self._folder / INDEX, {"metadata": {"total_size": self._total_bytes}, "weight_map": placed})


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
