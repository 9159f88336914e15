"""An adapter of a tiny base as peft writes one, with seeded factors that change what the base says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.support.tiny_base import HEAD, HEADS, HIDDEN, KEY_HEADS, LAYERS, MIDDLE

SHAPES = {
    "self_attn.q_proj": (HEADS * HEAD, HIDDEN),
    "self_attn.k_proj": (KEY_HEADS * HEAD, HIDDEN),
    "self_attn.v_proj": (KEY_HEADS * HEAD, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
    "mlp.gate_proj": (MIDDLE, HIDDEN),
    "mlp.up_proj": (MIDDLE, HIDDEN),
    "mlp.down_proj": (HIDDEN, MIDDLE),
}


def tiny_adapter(
    folder: Path, *, seed: int = 1, rank: int = 4, alpha: float = 8.0, size: float = 0.3, **config: object
) -> Path:
    """On every linear layer below the head. `config`: settings of peft that differ from its defaults."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(LAYERS):
        for name, (rows, columns) in SHAPES.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{stem}.lora_A.weight"] = random.normal(0, size, (rank, columns)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = random.normal(0, size, (rows, rank)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = sorted(name.rpartition(".")[2] for name in SHAPES)
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps(told | config))
    return folder
