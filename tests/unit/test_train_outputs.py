"""A run's exports: what fails is told, what is interrupted goes on, and the adapter stands whatever happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from gtftd.programs.train_outputs import make_outputs
from gtftd.schemas.training import RunSpec
from gtftd.training import export, memory
from tests.support.tiny_adapter import tiny_adapter
from tests.support.tiny_base import tiny_base
from tests.support.training_run import make_run, settings


def spec_of(run: Path, base: Path, *exports: str, **changed: object) -> RunSpec:
    made = make_run(run, base, settings(exports=exports), **changed)
    return RunSpec.model_validate_json((made / "spec.json").read_bytes())


def test_one_that_fails_does_not_fail_the_others(tmp_path: Path) -> None:
    """Each problem says which, and what to do."""
    base = tiny_base(tmp_path / "base")
    told = json.loads((base / "tokenizer.json").read_text())
    told["pre_tokenizer"] = {"type": "Whitespace"}
    (base / "tokenizer.json").write_text(json.dumps(told))
    spec = spec_of(tmp_path / "run", base, "gguf-q8_0", "merged")
    adapter = tiny_adapter(tmp_path / "run" / "adapter")
    made = make_outputs(tmp_path / "run", spec, adapter, beat=lambda: None, stop=lambda: False)
    assert {"merged": "export/merged"} == made.outputs
    (problem,) = made.problems
    assert problem.startswith("no gguf-q8_0: ")
    assert "training.llama_cpp_dir" in problem


def test_too_little_memory_for_exports_costs_only_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded then; it says how much is needed, and how to have them later."""
    base = tiny_base(tmp_path / "base")
    needed = memory.estimate_export(memory.read_shape(base))
    spec = spec_of(tmp_path / "run", base, "merged")
    adapter = tiny_adapter(tmp_path / "run" / "adapter")
    monkeypatch.setattr(export, "free_memory_bytes", lambda: needed - 1)
    made = make_outputs(tmp_path / "run", spec, adapter, beat=lambda: None, stop=lambda: False)
    assert {} == made.outputs
    (problem,) = made.problems
    assert f"takes {needed / 1e9:.1f} GB of memory" in problem
    assert "gtftctl model export" in problem
    monkeypatch.setattr(export, "free_memory_bytes", lambda: needed)
    made = make_outputs(tmp_path / "run", spec, adapter, beat=lambda: None, stop=lambda: False)
    assert ({"merged": "export/merged"}, []) == (made.outputs, made.problems)


def test_asked_to_stop_it_stops_and_goes_on_later(tmp_path: Path) -> None:
    """What is there by then stays; the heart beats meanwhile."""
    beats: list[int] = []
    spec = spec_of(tmp_path / "run", tiny_base(tmp_path / "base"), "merged", "lora-gguf")
    adapter = tiny_adapter(tmp_path / "run" / "adapter")
    first = tmp_path / "run" / "export" / "merged" / "export.json"
    stopped = make_outputs(tmp_path / "run", spec, adapter, beat=lambda: beats.append(1), stop=lambda: first.exists())
    assert (True, ["merged"]) == (stopped.stopped, list(stopped.outputs))
    assert len(beats) > 10
    before = first.read_bytes()
    made = make_outputs(tmp_path / "run", spec, adapter, beat=lambda: None, stop=lambda: False)
    assert (False, ["merged", "lora-gguf"]) == (made.stopped, list(made.outputs))
    assert before == first.read_bytes()


def test_of_a_task_the_role_below_is_exported_too(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    below = tiny_adapter(tmp_path / "below", seed=5)
    adapter = tiny_adapter(tmp_path / "adapter")
    keys = set()
    for kind in ("task", "role"):
        spec = spec_of(tmp_path / kind, base, "merged", kind=kind, adapter=str(below))
        assert not make_outputs(tmp_path / kind, spec, adapter, beat=lambda: None, stop=lambda: False).problems
        keys.add((tmp_path / kind / "export" / "merged" / "model.safetensors").read_bytes())
    assert 2 == len(keys)
