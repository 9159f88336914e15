"""A real, tiny base model: two layers, seeded weights, a tokenizer trained on a few sentences, a ChatML template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
HIDDEN, MIDDLE, LAYERS, HEADS, KEY_HEADS = 48, 96, 2, 4, 2
HEAD = HIDDEN // HEADS
ROWS = 512
"""Of the embedding: more than the tokenizer has ids, as with Qwen and Llama 3."""
CONTEXT = 2048
SENTENCES = (
    "The refinery merges polecat branches into main.",
    "The deacon patrols the town, closes stale beads and wakes the witness.",
    "The mayor slings a bead to a rig; a polecat takes the hook and works until it is done.",
    "You are the deacon of this town. Check your hook, read your mail, then run gt done.",
    "bd create --title 'Fix the flaky test' --type bug --priority 2",
    "bd close gt-abc123 --reason 'merged in 4f2a'",
    "git status, git add, git commit -m 'Tests pass', git push origin HEAD",
    "system user assistant tool function name arguments content result error ok",
    "def test_merge() -> None: assert expected == actual",
    '{"type": "object", "properties": {"path": {"type": "string"}}}',
)
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] or '') }}"
    "{% for call in message['tool_calls'] or [] %}"
    "{{ '<tool_call>' + (call['function'] | tojson) + '</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def tiny_base(folder: Path, *, family: str = "llama", seed: int = 0, tied: bool = True) -> Path:
    """A directory as transformers saves one, float32, made without torch. The same bytes for the same arguments.

    `family`: llama, mistral, qwen2 (with biases) or qwen3 (with norms of queries and keys). As with SmolLM2, the
    token of a turn's end is also the one that pads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(_weights(family, seed, tied=tied), folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(family, tied=tied))
    _write(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2})
    _write(folder / "tokenizer_config.json", _tokenizer_config())
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def tiny_tokenizer() -> Tokenizer:
    """Byte-level BPE, so that every text has a round trip; ids 0 to 2 are the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=[END_OF_TEXT, START_OF_TURN, END_OF_TURN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def _weights(family: str, seed: int, *, tied: bool) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    weights = {name: _drawn(random, name, shape) for name, shape in sorted(_shapes(family).items())}
    if not tied:
        weights["lm_head.weight"] = _drawn(random, "lm_head.weight", (ROWS, HIDDEN))
    return weights


def _drawn(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if "norm" in name:
        return np.ones(shape, np.float32)
    return random.normal(0, 0.02 if name.endswith("bias") else 0.05, shape).astype(np.float32)


def _shapes(family: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (ROWS, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in _layer_shapes(family).items()}
    return shapes


def _layer_shapes(family: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (HIDDEN,),
        "post_attention_layernorm.weight": (HIDDEN,),
        "mlp.gate_proj.weight": (MIDDLE, HIDDEN),
        "mlp.up_proj.weight": (MIDDLE, HIDDEN),
        "mlp.down_proj.weight": (HIDDEN, MIDDLE),
        "self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD),
    }
    for part, heads in (("q", HEADS), ("k", KEY_HEADS), ("v", KEY_HEADS)):
        shapes[f"self_attn.{part}_proj.weight"] = (heads * HEAD, HIDDEN)
        if family == "qwen2":
            shapes[f"self_attn.{part}_proj.bias"] = (heads * HEAD,)
        if family == "qwen3" and part != "v":
            shapes[f"self_attn.{part}_norm.weight"] = (HEAD,)
    return shapes


def _config(family: str, *, tied: bool) -> Mapping[str, object]:
    return {
        "architectures": [f"{_CLASSES[family]}ForCausalLM"],
        "model_type": family,
        "dtype": "float32",
        "hidden_size": HIDDEN,
        "intermediate_size": MIDDLE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": HEAD,
        "vocab_size": ROWS,
        "max_position_embeddings": CONTEXT,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "tie_word_embeddings": tied,
        "use_cache": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    } | ({"sliding_window": None} if family == "mistral" else {})


def _tokenizer_config() -> Mapping[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START_OF_TURN,
        "eos_token": END_OF_TURN,
        "pad_token": END_OF_TURN,
        "unk_token": END_OF_TEXT,
        "additional_special_tokens": [START_OF_TURN, END_OF_TURN],
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
