"""The weights that an export writes: those of a base with adapters added, one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gtftd.errors import Invalid, Missing, Refused
from gtftd.training.base_files import weights_of

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
HEAD = "lm_head.weight"
_PREFIX = "base_model.model."
_PLAIN = {
    "use_dora": False, "use_qalora": False, "use_rslora": False, "fan_in_fan_out": False, "bias": "none",
    "lora_bias": False, "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None,
}  # fmt: skip
"""Settings of peft that change what an adapter is: any other value would be exported wrongly."""


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to one weight: scale * b @ a."""

    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)
    scale: float

    def delta(self) -> Tensor:
        """(out, in), float32"""
        return self.scale * (self.b @ self.a)


@dataclass(frozen=True)
class Stored:
    """A tensor of the base, as the header of its file tells."""

    name: str
    file: str
    shape: tuple[int, ...]
    dtype: str
    """As safetensors writes it: F32, F16, BF16."""
    size_bytes: int


class Weights:
    """A base's folder and adapters' folders, each stacked on those before it. Holds the adapters, not the base."""

    def __init__(self, base: Path, adapters: Sequence[Path]) -> None:
        """Raises Missing, Invalid, and Refused for adapters that are more than low-rank factors."""
        self.base = base
        self.stored = {one.name: one for file in files_of(base) for one in read_header(base / file).tensors}
        self.added: dict[str, list[LowRank]] = {}
        for folder in adapters:
            for name, pair in read_adapter(folder).items():
                self._check(folder, name, pair)
                self.added.setdefault(name, []).append(pair)

    def tensor(self, name: str) -> Tensor:
        """With what the adapters add, float32."""
        weight = self._base_tensor(name).to(torch.float32)
        for pair in self.added.get(name, ()):
            weight = weight + pair.delta()
        return weight

    def as_stored(self, name: str) -> Tensor:
        """In the type in which the base stores it; its very bytes where nothing is added. May raise Invalid."""
        stored = self._base_tensor(name)
        if name not in self.added:
            return stored
        merged = self.tensor(name).to(stored.dtype)
        if not bool(torch.isfinite(merged).all()):
            raise Invalid(f"{name} with the adapter added does not fit into {stored.dtype}")
        return merged

    def _base_tensor(self, name: str) -> Tensor:
        try:
            with safe_open(self.base / self.stored[name].file, framework="pt") as file:
                found: Tensor = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise Invalid(f"{name} cannot be read from {self.base}: {error}") from error
        return found

    def _check(self, folder: Path, name: str, pair: LowRank) -> None:
        shape = (pair.b.shape[0], pair.a.shape[1])
        known = self.stored.get(name)
        if known is None or known.shape != shape:
            has = "has no such weight" if known is None else f"has it as {known.shape}"
            raise Invalid(f"the adapter in {folder} changes {name} {shape}, and the base {has}: it is another base's")


@dataclass(frozen=True)
class Header:
    """Of a file of safetensors."""

    content: bytes
    """The file up to its first tensor."""
    tensors: tuple[Stored, ...]
    """In the order in which they lie in the file."""


def files_of(base: Path) -> list[str]:
    return [name for name in weights_of(base) if name.endswith(".safetensors")]


def read_header(path: Path) -> Header:
    """Raises Invalid. Files of a base were looked at before they became one."""
    try:
        with path.open("rb") as file:
            length = file.read(8)
            told = file.read(int.from_bytes(length, "little"))
        entries = {name: one for name, one in json.loads(told).items() if name != "__metadata__"}
        tensors = tuple(_stored(path.name, entries))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(f"{path} is no file of safetensors: {error}") from error
    return Header(length + told, tensors)


def read_adapter(folder: Path) -> dict[str, LowRank]:
    """By the name of the weight to which each is added. Raises Missing, Invalid, Refused."""
    scale = _read_scale(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            names = sorted(file.keys())
            factors = {name: file.get_tensor(name).to(torch.float32) for name in names}
    except (OSError, SafetensorError) as error:
        raise Invalid(f"{folder / WEIGHTS} cannot be read: {error}") from error
    found = {}
    for name, a in factors.items():
        module, is_a, _ = name.partition(".lora_A.weight")
        if is_a and module.startswith(_PREFIX):
            found[f"{module.removeprefix(_PREFIX)}.weight"] = LowRank(a, factors[f"{module}.lora_B.weight"], scale)
    if 2 * len(found) != len(factors):
        raise Refused(f"the adapter in {folder} holds more than low-rank factors of linear layers; it is not exported")
    return found


def _read_scale(folder: Path) -> float:
    try:
        config: Mapping[str, Any] = json.loads((folder / CONFIG).read_bytes())
        scale = float(config["lora_alpha"]) / int(config["r"])
    except FileNotFoundError as error:
        raise Missing(f"{folder} holds no {CONFIG}: no adapter is there") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(f"{folder / CONFIG} describes no LoRA adapter") from error
    for key, plain in _PLAIN.items():
        if config.get(key) not in (plain, None):
            raise Refused(f"the adapter in {folder} has {key} = {config[key]!r}, which is not exported here")
    return scale


def _stored(file: str, entries: Mapping[str, Any]) -> Iterator[Stored]:
    for name, one in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = one["data_offsets"]
        yield Stored(name, file, tuple(one["shape"]), str(one["dtype"]), end - start)
