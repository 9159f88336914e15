"""In which order an epoch shows its examples: by seed and epoch alone, in every process and on every machine."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def generator(seed: int, epoch: int) -> np.random.Generator:
    """PCG64 by name: numpy's default may change."""
    digest = sha256(f"gtftd order {seed} {epoch}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def shuffled(count: int, random: np.random.Generator) -> Indices:
    """0 to `count`, each once: sorted by random keys, since `permutation` is not promised to stay as it is."""
    keys = random.integers(0, 2**63, count, dtype=np.int64)
    found: Indices = np.argsort(keys, kind="stable").astype(np.int64)
    return found
