"""Embedding by onnxruntime: texts of one length together, so that nothing is spent on padding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from gtftd.errors import Invalid
from gtftd.rag.embedding import Vectors, clean, digest_of, normalised

Pooling = Literal["mean", "cls"]
_BATCH_TOKENS = 4096
_MOST_CHARS = 20_000
_IDS, _MASK, _KINDS = "input_ids", "attention_mask", "token_type_ids"


@dataclass(frozen=True)
class OnnxConfig:
    """How a model wants to be used, as its folder says it."""

    pooling: Pooling = "mean"
    window: int = 256
    """Most wordpieces that it reads of a text, its own two marks among them."""
    query_prefix: str = ""
    passage_prefix: str = ""


def read_config(folder: Path) -> OnnxConfig:
    """From the files that sentence-transformers writes beside a model; what is not there has its usual value."""
    pooling = _json(folder / "1_Pooling" / "config.json")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts")
    told: Mapping[str, object] = prompts if isinstance(prompts, dict) else {}
    window = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return OnnxConfig(
        pooling="cls" if pooling.get("pooling_mode_cls_token") is True else "mean",
        window=min(512, max(16, window)) if isinstance(window, int) else 256,
        query_prefix=str(told.get("query", "")),
        passage_prefix=str(told.get("document", told.get("passage", ""))),
    )


def _json(path: Path) -> Mapping[str, object]:
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Invalid(f"{path} cannot be read: {str(error)[:200]}") from error
    return loaded if isinstance(loaded, dict) else {}


class OnnxEmbedder:
    """A transformer of the BERT family. Safe to call from several threads."""

    def __init__(
        self, name: str, weights: Path, tokenizer: Path, *, threads: int = 1, config: OnnxConfig | None = None
    ) -> None:
        self._config = config or OnnxConfig()
        self.model_id = f"{name}-{digest_of(weights, tokenizer)}"
        self._tokenizer = _load_tokenizer(tokenizer, self._config.window)
        self._session = _load_session(weights, threads)
        self._inputs = {given.name for given in self._session.get_inputs()}
        if not {_IDS, _MASK} <= self._inputs <= {_IDS, _MASK, _KINDS}:
            raise Invalid(f"{weights} wants the inputs {sorted(self._inputs)}: it is no text embedding model")
        self.dimensions = len(self.embed_query("dimensions"))

    def embed_query(self, text: str) -> Vectors:
        vectors: Vectors = self._embed([self._config.query_prefix + text])[0]
        return vectors

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._embed([self._config.passage_prefix + text for text in texts])

    def _embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        encoded = self._tokenizer.encode_batch([clean(text[:_MOST_CHARS]) for text in texts])
        ids = [found.ids for found in encoded]
        rows: list[Vectors | None] = [None] * len(ids)
        for batch in _batches([len(row) for row in ids]):
            for number, vector in zip(batch, self._run([ids[number] for number in batch]), strict=True):
                rows[number] = vector
        return normalised(np.stack([row for row in rows if row is not None]))

    def _run(self, rows: list[list[int]]) -> Vectors:
        """All rows have one length."""
        ids = np.array(rows, np.int64)
        told = {_IDS: ids, _MASK: np.ones_like(ids)}
        if _KINDS in self._inputs:
            told[_KINDS] = np.zeros_like(ids)
        states = np.asarray(self._session.run(None, told)[0], np.float32)
        if states.ndim == 2:  # the model pools itself
            return states
        pooled: Vectors = states[:, 0] if self._config.pooling == "cls" else states.mean(axis=1)
        return pooled


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of texts of one length together, at most so many tokens at once."""
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        last = batches[-1] if batches else []
        length = lengths[number]
        if last and lengths[last[0]] == length and (len(last) + 1) * length <= _BATCH_TOKENS:
            last.append(number)
        else:
            batches.append([number])
    return batches


def _load_tokenizer(path: Path, window: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exceptions, whatever is wrong
        raise Invalid(f"{path} is no tokenizer: {str(error)[:200]}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(window)
    return tokenizer


def _load_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # one class for each kind of native failure, without a common base
        raise Invalid(f"{path} is no model that onnxruntime can load: {str(error)[:200]}") from error
