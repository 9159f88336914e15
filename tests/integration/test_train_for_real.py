"""The whole way with nothing pretended: a base, a snapshot, torch, a registered adapter, and the same bytes again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp")

from tests.support.gtftctl import COMMAND
from tests.support.tiny_base import tiny_base
from tests.support.training import TrainingDesk, training_desk

QUICK = ("optimizer.epochs=2", "optimizer.batch_examples=2", "data.most_tokens=512", "threads=1")


@pytest.fixture
def desk(tmp_path: Path) -> TrainingDesk:
    """Its runs are those of the real program."""
    made = training_desk(tmp_path)
    made.config.write_text('[training]\nbase = "small"\n')
    typed(made, "base", "add", "small", "--from", str(tiny_base(tmp_path / "small")))
    return made


def typed(desk: TrainingDesk, *words: str) -> str:
    where = ["--town", str(desk.town), "--state-dir", str(desk.state), "--config", str(desk.config)]
    told = subprocess.run(
        [*COMMAND, *words, *where], env=desk.environ, cwd=desk.folder, stdin=subprocess.DEVNULL, capture_output=True,
        check=False, text=True,
    )  # fmt: skip
    assert (0, "") == (told.returncode, told.stderr), (told, desk.logs())
    return told.stdout


@pytest.mark.timeout(600)
def test_an_adapter_is_trained_registered_and_rebuilt(desk: TrainingDesk) -> None:
    settings = [word for one in QUICK for word in ("--set", one)]
    assert "polecat-v1 is registered" in typed(desk, "train", "--role", "polecat", "--run", "one", *settings)
    model = json.loads(typed(desk, "model", "show", "polecat-v1", "--json"))
    result = model["training_config"]["result"]
    assert result["held_out_after"] < result["held_out_before"]
    assert (4, 0) == (result["audit"]["canaries"], result["audit"]["extracted"])
    shown = json.loads(typed(desk, "train", "show", "one", "--json"))
    assert result["audit"] == shown["audit"]
    assert Path(shown["curve"]).stat().st_size > 1_000
    assert "0 of 4 canaries said by greedy decoding" in typed(desk, "train", "show", "one")
    made = json.loads(typed(desk, "train", "show", "one", "--json"))["outputs"]
    assert ["adapter", "gguf-q8_0", "lora-gguf"] == sorted(made), desk.logs()
    assert b"GGUF" == Path(made["gguf-q8_0"]).read_bytes()[:4] == Path(made["lora-gguf"]).read_bytes()[:4]
    told = typed(desk, "model", "export", "polecat-v1", "--as", "gguf-q4_k_m", "--to", str(desk.folder))
    assert "in llama.cpp" in told
    assert (desk.folder / "polecat-v1-q4_k_m.gguf").is_file()
    assert "1 model checked: all whole\n" == typed(desk, "model", "verify")
    assert "polecat-v1: the same bytes" in typed(desk, "model", "rebuild", "polecat-v1")
    assert not list((desk.state / "rebuilds").iterdir())
