"""What a base is, by its config.json, and whether its weights are those: a tensor that lacks would be random."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gtftd.errors import Invalid, Refused
from gtftd.training.bases import FAMILIES, BaseShape

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_DTYPES: Mapping[str, Literal["float32", "float16", "bfloat16"]] = {
    "F32": "float32", "F16": "float16", "BF16": "bfloat16",
}  # fmt: skip
Count = Field(ge=1, le=10_000_000)


class Tensor(Protocol):
    """What the header of a weights file tells."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


class Config(BaseModel):
    """The part of config.json that says what the tensors are."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_type: str
    num_hidden_layers: int = Field(ge=1, le=1000)
    hidden_size: int = Count
    intermediate_size: int = Count
    num_attention_heads: int = Count
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int = Count
    max_position_embeddings: int = Count
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    auto_map: Any = None
    quantization_config: Any = None

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads


def read_shape(folder: Path, tensors: Mapping[str, Tensor], *, any_family: bool = False) -> BaseShape:
    """Raises Refused for what is not trained here, Invalid when the weights are not what the config says."""
    config = read_config(folder)
    if config.model_type not in FAMILIES and not any_family:
        raise Refused(
            f"the base is of the family {config.model_type[:40]!r}; known are {', '.join(FAMILIES)}. "
            "--any-family takes it all the same: then its tensors are not compared with its config"
        )
    if EMBEDDING not in tensors or len(tensors[EMBEDDING].shape) != 2:
        raise Invalid(f"the weights hold no {EMBEDDING}; this is no causal language model that is known here")
    if config.model_type in FAMILIES:
        _check_tensors(config, tensors)
    strange = sorted({one.dtype for one in tensors.values()} - set(_DTYPES))
    if strange:
        raise Refused(f"weights are stored as {', '.join(strange)}; add them as float32, float16 or bfloat16")
    rows, hidden_size = tensors[EMBEDDING].shape
    counted = [one for name, one in tensors.items() if not (config.tie_word_embeddings and name == HEAD)]
    return BaseShape(
        family=config.model_type, parameters=sum(math.prod(one.shape) for one in counted),
        layers=config.num_hidden_layers, hidden_size=hidden_size, middle_size=config.intermediate_size,
        heads=config.num_attention_heads, key_heads=config.key_heads, head_size=config.head_size, vocabulary=rows,
        context=config.max_position_embeddings, dtype=_DTYPES[tensors[EMBEDDING].dtype],
        tied=config.tie_word_embeddings,
    )  # fmt: skip


def read_config(folder: Path) -> Config:
    """Raises Refused for programs that came with it and for quantised weights, Invalid for what is no config."""
    try:
        config = Config.model_validate_json((folder / "config.json").read_bytes())
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise Invalid(f"config.json is none of a causal language model: {where}: {error.errors()[0]['msg']}") from error
    tokenizer = folder / "tokenizer_config.json"
    if config.auto_map or (tokenizer.is_file() and _object(tokenizer).get("auto_map")):
        raise Refused("the base wants to run programs of its own (auto_map); nothing here trusts remote code")
    if config.quantization_config:
        raise Refused("the weights are quantised; only full ones can be trained: add those, or a GGUF")
    return config


def _check_tensors(config: Config, tensors: Mapping[str, Tensor]) -> None:
    expected = dict(_expected(config))
    for name, shape in expected.items():
        if name not in tensors:
            raise Invalid(f"the weights hold no {name}; it would be random after loading")
        if tensors[name].shape != shape:
            raise Invalid(f"{name} has the shape {tensors[name].shape}; config.json asks for {shape}")
    ignored = (HEAD, ".rotary_emb.inv_freq")
    unknown = sorted(name for name in tensors if name not in expected and not name.endswith(ignored))
    if unknown:
        raise Invalid(f"the weights hold {unknown[0][:80]!r}, which a {config.model_type} has not")


def _expected(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield EMBEDDING, (config.vocab_size, config.hidden_size)
    yield "model.norm.weight", (config.hidden_size,)
    if not config.tie_word_embeddings:
        yield HEAD, (config.vocab_size, config.hidden_size)
    for layer in range(config.num_hidden_layers):
        for name, shape in _of_layer(config):
            yield f"model.layers.{layer}.{name}", shape


def _of_layer(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, middle, head = config.hidden_size, config.intermediate_size, config.head_size
    queries, keys = config.num_attention_heads * head, config.key_heads * head
    is_biased = config.attention_bias or config.model_type == "qwen2"
    yield from (("input_layernorm.weight", (hidden,)), ("post_attention_layernorm.weight", (hidden,)))
    for name, rows, columns in (("gate", middle, hidden), ("up", middle, hidden), ("down", hidden, middle)):
        yield f"mlp.{name}_proj.weight", (rows, columns)
        if config.mlp_bias:
            yield f"mlp.{name}_proj.bias", (rows,)
    for name, rows in (("q", queries), ("k", keys), ("v", keys)):
        yield f"self_attn.{name}_proj.weight", (rows, hidden)
        if is_biased:
            yield f"self_attn.{name}_proj.bias", (rows,)
    yield "self_attn.o_proj.weight", (hidden, queries)
    if config.attention_bias:
        yield "self_attn.o_proj.bias", (hidden,)
    if config.model_type == "qwen3":
        yield from (("self_attn.q_norm.weight", (head,)), ("self_attn.k_norm.weight", (head,)))


def _object(path: Path) -> Mapping[str, Any]:
    told = json.loads(path.read_bytes())
    if not isinstance(told, dict):
        raise Invalid(f"{path.name} is no object")
    return told
