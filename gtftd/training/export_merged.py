"""A base with adapters added, as a directory that transformers loads like any other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtftd.errors import Corrupt
from gtftd.training.base_files import chosen_of, copy
from gtftd.training.export_weights import Weights, files_of, read_header

LEFT_OUT = ("README.md",)
"""It speaks of the base."""


def write_merged(weights: Weights, folder: Path, tick: Callable[[], None]) -> None:
    """Into a folder that is there. Files and their headers are the base's; memory for one tensor is taken.

    Every weight stays in the type in which the base stores it. `tick` is called after each.
    """
    shards = files_of(weights.base)
    for name in chosen_of(weights.base):
        if name not in (*shards, *LEFT_OUT):
            copy(weights.base / name, folder / name)  # never a link: an export is its owner's to change
    for name in shards:
        with (folder / name).open("xb") as file:
            _write_shard(weights, weights.base / name, file, tick)
            file.flush()
            os.fsync(file.fileno())


def _write_shard(weights: Weights, source: Path, file: BinaryIO, tick: Callable[[], None]) -> None:
    header = read_header(source)
    file.write(header.content)
    for one in header.tensors:
        content = _bytes_of(weights.as_stored(one.name))
        if len(content) != one.size_bytes:
            raise Corrupt(f"{one.name} of {source} has {len(content)} bytes, and its header says {one.size_bytes}")
        file.write(content)
        tick()


def _bytes_of(tensor: Tensor) -> memoryview:
    flat: NDArray[np.uint8] = tensor.contiguous().flatten().view(torch.uint8).numpy()
    return flat.data
