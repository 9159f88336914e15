"""How much memory a run will take, told before anything is loaded. Without torch."""

from __future__ import annotations

import ctypes
import json
import math
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtftd.errors import Invalid, Missing, NotReady, Refused
from gtftd.schemas.training import TrainSettings

FLOAT = 4
PROGRAM_BYTES = 400 * 2**20
"""Python with torch, transformers and peft, before a model."""
HIDDEN_SHARE, MIDDLE_SHARE, FUSED_MIDDLE_SHARE, LOW_RANK_SHARE = 8.0, 4.0, 2.0, 1.0
"""Numbers kept for the backward pass per token and layer, in units of the hidden and of the middle width, and of the
rank per adapted layer. As counted in a Llama layer, whose MLP is fused."""
KERNEL_BYTES = 150 * 2**20
"""Kernels that oneDNN compiles for bfloat16; see `gtftd.training.lengths`."""
HELD = 1.3
"""Bytes that the C library holds for each byte of them, with `use_blocks_again`. Fitted to measured peaks."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 2**25
"""The most that glibc takes for M_MMAP_THRESHOLD; of what a row makes only a chunk of logits is larger."""
LOGITS_COPIES = 2.5
CHUNK_TOKENS = 256
SHARE_OF_FREE = 0.8
_WORDS = ("can't allocate memory", "Cannot allocate memory", "out of memory", "bad_alloc", "bad allocation")


@dataclass(frozen=True)
class Shape:
    """What bears on memory, from a base's config.json and the headers of its weights."""

    parameters: int
    hidden: int
    middle: int
    layers: int
    vocabulary: int
    attention: int
    """Width of the queries; of keys and values together."""
    keys_values: int
    stored_bytes: int
    """Of the files of weights: they are read as they are, then made float32."""
    is_gated: bool = False
    """With an MLP that `gtftd.training.fused` knows."""


@dataclass(frozen=True)
class Estimate:
    """Bytes at the peak, and of what."""

    program: int
    weights: int
    adapter: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.program + self.weights + self.adapter + self.activations + self.logits


def read_shape(folder: Path) -> Shape:
    """Reads a few kilobytes. Raises Missing or Invalid."""
    config = _read_config(folder)
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        head = int(config.get("head_dim") or hidden // heads)
        files = sorted(folder.glob("*.safetensors"))
        return Shape(
            parameters=sum(_count_parameters(file) for file in files),
            hidden=hidden,
            middle=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            vocabulary=int(config["vocab_size"]),
            attention=heads * head,
            keys_values=2 * int(config.get("num_key_value_heads") or heads) * head,
            stored_bytes=sum(file.stat().st_size for file in files),
            is_gated=config.get("hidden_act") in {"silu", "swish"},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid(f"{folder / 'config.json'} does not say how large the model is: {error!r}") from error


def estimate(
    shape: Shape,
    settings: TrainSettings,
    *,
    row_tokens: int | None = None,
    weight_bytes: int = 4,
) -> Estimate:
    """The peak of one forward and backward pass over the longest row; rows of a batch follow one another. `row_tokens`:
    as long as that is in the data, where it is known; at most what the settings allow.

    weights + 4 copies of the adapter (itself, gradient, two moments) + a copy of three of them for a checkpoint
    + tokens x layers x (8 hidden + 2 or 4 middle + ranks) in the weights' type + one chunk of logits.
    """
    tokens = min(longest_row(settings), row_tokens or sys.maxsize)
    low_rank = count_adapter(shape, settings.lora.rank)
    is_fused = shape.is_gated and not settings.lora.dropout
    middle = (FUSED_MIDDLE_SHARE if is_fused else MIDDLE_SHARE) * shape.middle
    kept = HIDDEN_SHARE * shape.hidden + middle + LOW_RANK_SHARE * 7 * settings.lora.rank
    chunk = min(CHUNK_TOKENS, tokens)
    return Estimate(
        program=PROGRAM_BYTES + (KERNEL_BYTES if weight_bytes < FLOAT else 0),
        weights=shape.parameters * weight_bytes,
        adapter=low_rank * FLOAT * 7,
        activations=math.ceil(tokens * shape.layers * kept * HELD) * weight_bytes,
        logits=math.ceil(chunk * shape.vocabulary * LOGITS_COPIES) * FLOAT,
    )


def estimate_export(shape: Shape) -> int:
    """Bytes at the peak: the source in float32, the files of the base and of what is made, as they are read, and the
    kernels that a run before it may have compiled.
    """
    return PROGRAM_BYTES + KERNEL_BYTES + shape.parameters * FLOAT + 2 * shape.stored_bytes


def longest_row(settings: TrainSettings) -> int:
    """A pair is one row of a prompt and two completions, each with the prompt within the limit."""
    return settings.data.most_tokens * (2 if settings.objective == "dpo" else 1)


def count_adapter(shape: Shape, rank: int) -> int:
    """Of an adapter on every linear layer."""
    attention = 4 * shape.hidden + 2 * shape.attention + shape.keys_values
    middle = 3 * (shape.hidden + shape.middle)
    return shape.layers * rank * (attention + middle)


def check_room(needed: Estimate, settings: TrainSettings, available_bytes: int, *, has_begun: bool = False) -> None:
    """Raises Refused with the numbers, rather than let the kernel choose whom to kill; NotReady for a run that fitted
    when it began: others have the memory now.
    """
    allowed = settings.memory_bytes or int(available_bytes * SHARE_OF_FREE)
    if fits(needed, settings, available_bytes):
        return
    limit = "memory_bytes" if settings.memory_bytes else f"{SHARE_OF_FREE:.0%} of what is free"
    kind = NotReady if has_begun and not settings.memory_bytes else Refused
    raise kind(
        f"the run would take {_mib(needed.total)} (program {_mib(needed.program)}, weights {_mib(needed.weights)}, "
        f"adapter {_mib(needed.adapter)}, activations {_mib(needed.activations)}, logits {_mib(needed.logits)}), "
        f"and may take {_mib(allowed)} ({limit}); lower data.most_tokens or take a smaller base",
        needed_bytes=needed.total,
        allowed_bytes=allowed,
    )


def fits(needed: Estimate, settings: TrainSettings, available_bytes: int) -> bool:
    return needed.total <= (settings.memory_bytes or int(available_bytes * SHARE_OF_FREE))


def is_refused(error: BaseException) -> bool:
    """Whether somebody was refused memory: Python, numpy, torch on a CPU or a GPU, or the standard library of C++."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in str(error) for w in _WORDS))


def complain(error: BaseException) -> str:
    """For a person; see `is_refused`."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if "CUDA" in str(error):
        most = "the GPU has"
    else:
        most = f"the {_mib(limit)} that it may take" if limit != resource.RLIM_INFINITY else "there was"
    return f"it needed more memory than {most}; lower data.most_tokens, take a smaller base, or set memory_bytes higher"


def use_blocks_again() -> None:
    """From now on the C library keeps what is freed for the next who asks, until `give_back`. By default it begins to,
    and what rows of many lengths leave between blocks in use is never given back; to return each block at once, and
    have the system clear its pages for the next, takes up to half the time of a run.
    """
    library = ctypes.CDLL(None)
    library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Return to the system what is not in use: after each row, so that a run takes no more than its longest row."""
    ctypes.CDLL(None).malloc_trim(0)


def peak_bytes() -> int:
    """The most that this process held: VmHWM, since ru_maxrss also counts what its parent held before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _read_config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except FileNotFoundError as error:
        raise Missing(f"{folder} holds no config.json: no base model is there") from error
    except ValueError as error:
        raise Invalid(f"{folder / 'config.json'} is no JSON") from error
    if not isinstance(config, dict):
        raise Invalid(f"{folder / 'config.json'} is no JSON object")
    return config


def _count_parameters(file: Path) -> int:
    """From the header of a safetensors file: 8 bytes of length, then JSON."""
    with file.open("rb") as weights:
        size = int.from_bytes(weights.read(8), "little")
        if size > 100 * 2**20:
            raise ValueError(f"{file.name} has a header of {size} bytes")
        header = json.loads(weights.read(size))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
