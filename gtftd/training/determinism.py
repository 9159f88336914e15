"""The same bytes from the same run: seeds, threads, algorithms, and random states that can be saved."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping

import numpy as np
import torch


def prepare(threads: int) -> None:
    """Fixed threads and deterministic algorithms; on a GPU as far as its kernels have any."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)  # what libraries draw from
    random.seed(number)


def random_states() -> dict[str, str]:
    """In hex, as they go into a checkpoint."""
    states = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return {name: bytes(state.numpy()).hex() for name, state in states.items()}


def restore_random_states(states: Mapping[str, str]) -> None:
    torch.set_rng_state(_state(states["torch"]))
    if torch.cuda.is_available() and "cuda" in states:
        torch.cuda.set_rng_state(_state(states["cuda"]))


def _state(hexadecimal: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(hexadecimal), dtype=torch.uint8)
