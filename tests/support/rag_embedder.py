"""An embedding model of a few lines: words hashed into a vector. Texts that share words are near each other."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")


class HashedWords:
    """`slow_s` is spent on each batch of passages, to see what happens while they are embedded."""

    def __init__(self, model_id: str = "hashed-words", dimensions: int = 64, *, slow_s: float = 0.0) -> None:
        self.model_id = model_id
        self.dimensions = dimensions
        self.slow_s = slow_s
        self.embedded: list[str] = []

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector = np.zeros(self.dimensions, np.float32)
        for word in _WORD.findall(text.lower()):
            code = zlib.crc32(word.encode())
            vector[code % self.dimensions] += 1 if code & 1 << 20 else -1
        length = float(np.linalg.norm(vector))
        if length == 0:
            vector[0] = length = 1.0
        return vector / np.float32(length)

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        if self.slow_s:
            time.sleep(self.slow_s)
        return np.stack([self.embed_query(text) for text in texts]) if texts else np.zeros((0, self.dimensions), "f4")
