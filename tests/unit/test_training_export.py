"""Every export of an adapter says what its source says, in llama.cpp or in transformers, or it is not there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, quants
from safetensors.torch import load_file, save_file

from gtftd.errors import Conflict, Invalid, Missing, Refused
from gtftd.programs.base import add_base
from gtftd.programs.export import export
from gtftd.schemas.training import ExportForm, ExportOrder, LlamaQuestion
from gtftd.training.base_source import find_source
from gtftd.training.export import FILES, Exporter, Source, template_of
from gtftd.training.export_check import ask_source, check_gguf
from gtftd.training.export_convert import Checkout
from gtftd.training.export_llama import ask_llama
from gtftd.training.export_quants import _quantise_natively
from gtftd.training.export_types import type_of
from gtftd.training.export_weights import Weights, read_header
from tests.support.tiny_adapter import tiny_adapter
from tests.support.tiny_base import tiny_base
from tests.support.tiny_gguf import tiny_gguf

ROOT = Path(__file__).parents[2]
GGUFS: tuple[ExportForm, ...] = ("gguf-f16", "gguf-q8_0", "gguf-q4_k_m", "lora-gguf")


def nothing() -> None:
    """As a tick."""


@pytest.fixture(scope="module")
def of_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in a cache, made of a GGUF that is still there."""
    folder = tmp_path_factory.mktemp("bases")
    source = find_source("tiny", tiny_gguf(folder / "tiny.gguf", tiny_base(folder / "plain")))
    return folder / "cache" / add_base("tiny", source, folder / "cache")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_adapter(tmp_path_factory.mktemp("adapters") / "one")


def changed(base: Path, **settings: object) -> Path:
    """A base whose config.json says something else."""
    told = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(told | settings))
    return base


def test_every_form_of_a_base_that_was_a_gguf(of_gguf: Path, adapter: Path, tmp_path: Path) -> None:
    """It says what base and adapter say together, and what the base's GGUF said of the tokenizer stands in it."""
    template = template_of(of_gguf)
    assert template is not None
    exporter = Exporter(Source(of_gguf, (adapter,), "polecat-v1"), tmp_path, nothing)
    for form in get_args(ExportForm):
        record = exporter.make(form)
        assert (96, form) == (record.check.tokens, record.form)
        assert (tmp_path / form / FILES[form]).exists()
        assert record.check.engine == ("transformers" if form == "merged" else "llama.cpp")
    told, now = (GGUFReader(path).fields for path in (template, tmp_path / "gguf-q8_0" / FILES["gguf-q8_0"]))
    for key in ("tokenizer.ggml.merges", "tokenizer.chat_template", "llama.rope.freq_base"):
        assert told[key].contents() == now[key].contents()
    assert ("polecat-v1", 7) == (now["general.name"].contents(), now["general.file_type"].contents())


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_base_that_was_a_directory(family: str, adapter: Path, tmp_path: Path) -> None:
    """Metadata and tokenizer come from its own files."""
    base = tiny_base(tmp_path / "base", family=family, tied=family != "mistral")
    exporter = Exporter(Source(base, (adapter,), "polecat-v1"), tmp_path / "out", nothing)
    for form in ("gguf-f16", "lora-gguf"):
        assert exporter.make(form).check.divergence < 1e-4


def test_positions_that_are_scaled_as_llama_3_does(adapter: Path, tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    base = changed(tiny_base(tmp_path / "base"), rope_parameters=rope)
    assert Exporter(Source(base, (adapter,), "m"), tmp_path / "out", nothing).make("gguf-f16").check.divergence < 1e-4


def test_adapters_that_are_stacked_become_one(of_gguf: Path, adapter: Path, tmp_path: Path) -> None:
    """Of other ranks and other scales."""
    second = tiny_adapter(tmp_path / "two", seed=2, rank=2, alpha=3.0)
    exporter = Exporter(Source(of_gguf, (adapter, second), "m"), tmp_path / "out", nothing)
    for form in ("merged", "lora-gguf"):
        assert exporter.make(form).check.divergence < 1e-4


def test_what_says_something_else_is_refused(of_gguf: Path, tmp_path: Path) -> None:
    """The base without its adapter, with another one, and with twice of it; although the adapter changes little."""
    weak = tiny_adapter(tmp_path / "weak", size=0.03)
    other = tiny_adapter(tmp_path / "other", size=0.03, seed=2)
    double = tiny_adapter(tmp_path / "double", size=0.03, alpha=16.0)
    outs = [tmp_path / "1", tmp_path / "2"]
    for out, one in zip(outs, (other, double), strict=True):
        Exporter(Source(of_gguf, (one,), "m"), out, nothing).make("lora-gguf")
    template, told = template_of(of_gguf), ask_source(of_gguf, (weak,))
    assert template is not None
    for lora in (None, *(out / "lora-gguf" / FILES["lora-gguf"] for out in outs)):
        with pytest.raises(Invalid, match="says something else"):
            check_gguf(template, lora, told, "gguf-q4_k_m", 1, nothing)


def test_a_file_that_llama_cpp_aborts_on_ends_another_process(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\xff" * 400)
    with pytest.raises(Invalid, match=r"llama\.cpp does not take it"):
        ask_llama(LlamaQuestion(model=str(tmp_path / "bad.gguf")), nothing)


def test_a_merged_directory_is_the_base_where_nothing_was_added(adapter: Path, tmp_path: Path) -> None:
    """Names, types and order too; in bfloat16 each weight is the nearest to the sum."""
    base = tiny_base(tmp_path / "base")
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    changed(base, dtype="bfloat16")
    (base / "tokenizer.json").chmod(0o444)  # as in the cache, where it may be linked
    Exporter(Source(base, (adapter,), "m"), tmp_path / "out", nothing).make("merged")
    merged = tmp_path / "out" / "merged" / "model.safetensors"
    assert read_header(base / "model.safetensors").content == read_header(merged).content
    assert not any((merged.parent / path.name).samefile(path) for path in base.iterdir())
    whole, now = Weights(base, (adapter,)), load_file(merged)
    for name, before in weights.items():
        assert torch.equal(now[name], whole.tensor(name).to(torch.bfloat16))
        assert (name in whole.added) != torch.equal(now[name], before)


def test_llama_cpp_quantises_as_the_official_python_does() -> None:
    """Where both can: the same bytes. A K-quant comes back within its steps."""
    weight = np.random.default_rng(3).normal(0, 0.05, (8, 512)).astype(np.float32)
    for name in ("Q8_0", "Q5_0", "Q5_1"):
        kind = GGMLQuantizationType[name]
        assert quants.quantize(weight, kind).tobytes() == _quantise_natively(weight, kind).tobytes()
    for name, share in (("Q4_K", 0.1), ("Q6_K", 0.03)):
        kind = GGMLQuantizationType[name]
        off = quants.dequantize(_quantise_natively(weight, kind), kind) - weight
        assert float(np.abs(off).mean() / np.abs(weight).mean()) < share


@pytest.mark.parametrize(
    ("name", "width", "tied", "kind"),
    [
        ("blk.0.attn_q.weight", 512, False, "Q4_K"),
        ("blk.0.attn_v.weight", 512, False, "Q6_K"),  # of the first eighth
        ("blk.8.attn_v.weight", 512, False, "Q4_K"),
        ("blk.9.ffn_down.weight", 512, False, "Q6_K"),  # each third
        ("blk.31.ffn_down.weight", 512, False, "Q6_K"),  # of the last eighth
        ("token_embd.weight", 512, False, "Q4_K"),
        ("token_embd.weight", 512, True, "Q6_K"),
        ("output.weight", 512, False, "Q6_K"),
        ("blk.0.attn_q.weight", 576, False, "Q5_0"),
        ("token_embd.weight", 576, True, "Q8_0"),
        ("blk.0.attn_q.weight", 48, False, "F16"),
    ],
)
def test_the_mixture_of_q4_k_m(name: str, width: int, tied: bool, kind: str) -> None:
    """As llama.cpp's quantiser chooses, with 32 layers."""
    assert kind == type_of("gguf-q4_k_m", name, (64, width), layers=32, tied=tied).name


LIVES = """
import importlib, os, sys
from pathlib import Path
import gguf, peft
from transformers import AutoTokenizer, LlamaForCausalLM  # once, and not in each life
from gtftd.state import crash
from gtftd.training.export import Exporter, Source
base, adapter, *outs = map(Path, sys.argv[1:])
for out in outs:
    child = os.fork()
    if not child:
        os.environ["GTFTD_CRASH_AT"] = f"{out.name}:2"
        importlib.reload(crash)
        exporter = Exporter(Source(base, (adapter,), "m"), out, lambda: None)
        for form in ("merged", "lora-gguf"):
            exporter.make(form)
        os._exit(0)
    assert -9 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


@pytest.mark.heavy
def test_killed_it_leaves_nothing_half(of_gguf: Path, adapter: Path, tmp_path: Path) -> None:
    """The first export stays as it is; the second is made by the next life."""
    outs = [tmp_path / "export.written", tmp_path / "export.checked"]
    command = [sys.executable, "-c", LIVES, str(of_gguf), str(adapter), *map(str, outs)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    for out in outs:
        before = (out / "merged" / "export.json").read_bytes()
        assert not (out / "lora-gguf").exists()
        exporter = Exporter(Source(of_gguf, (adapter,), "m"), out, nothing)
        for form in ("merged", "lora-gguf"):
            exporter.make(form)
        assert before == (out / "merged" / "export.json").read_bytes()
        assert ["lora-gguf", "merged"] == sorted(path.name for path in out.iterdir())


def test_a_place_is_one_processes_and_must_be_writable(of_gguf: Path, adapter: Path, tmp_path: Path) -> None:
    """What another one makes there stays; what cannot be written is said as such."""
    order = ExportOrder(form="merged", base=str(of_gguf), adapters=(str(adapter),), name="m", to=str(tmp_path / "m"))
    beside = tmp_path / ".m.export"
    (beside / ".merged.tmp").mkdir(parents=True)
    other = os.open(beside, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(Conflict, match="another process makes the same"):
        export(order)
    assert (beside / ".merged.tmp").is_dir()
    os.close(other)
    export(order)
    assert ["m"] == [path.name for path in tmp_path.iterdir()]
    with pytest.raises(Invalid, match="/proc/m cannot be made"):
        export(order.model_copy(update={"to": "/proc/m"}))


def test_another_adapter_is_exported_anew(adapter: Path, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    before = Exporter(Source(base, (adapter,), "m"), tmp_path / "out", nothing).make("merged")
    other = tiny_adapter(tmp_path / "other", seed=9)
    assert before.key != Exporter(Source(base, (other,), "m"), tmp_path / "out", nothing).make("merged").key


def stopping_after(count: int) -> Callable[[], None]:
    left = [count]

    def tick() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return tick


@pytest.mark.parametrize("ticks", [0, 5, 10])
def test_stopped_it_leaves_nothing(ticks: int, of_gguf: Path, adapter: Path, tmp_path: Path) -> None:
    """At the start, and while tensors are written."""
    with pytest.raises(KeyboardInterrupt):
        Exporter(Source(of_gguf, (adapter,), "m"), tmp_path, stopping_after(ticks)).make("lora-gguf")
    assert [] == list(tmp_path.iterdir())


def test_stopped_while_llama_speaks_it_leaves_nothing(of_gguf: Path, adapter: Path, tmp_path: Path) -> None:
    """Neither a file nor a process."""

    def tick() -> None:
        if speakers():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Exporter(Source(of_gguf, (adapter,), "m"), tmp_path, tick).make("lora-gguf")
    assert ([], []) == (list(tmp_path.iterdir()), speakers())


def speakers() -> list[str]:
    """Processes of ours in which llama.cpp runs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            is_ours = f"PPid:\t{os.getpid()}\n" in (process / "status").read_text()
            if is_ours and b"gtftd.programs.llama" in _words_of(process):
                found.append(process.name)
    return found


def _words_of(process: Path) -> bytes:
    """Empty for a moment, while it becomes its program."""
    while not (words := (process / "cmdline").read_bytes()) and "State:\tZ" not in (process / "status").read_text():
        time.sleep(0.001)
    return words


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"rank_pattern": {"q_proj": 2}}, {"bias": "all"}])
def test_an_adapter_that_is_more_than_low_rank_factors(setting: dict[str, object], tmp_path: Path) -> None:
    base, other = tiny_base(tmp_path / "base"), tiny_adapter(tmp_path / "other", **setting)
    with pytest.raises(Refused, match=next(iter(setting))):
        Exporter(Source(base, (other,), "m"), tmp_path / "out", nothing).make("merged")


def test_what_is_not_known_names_the_setting(adapter: Path, tmp_path: Path) -> None:
    """A family, positions, and a way of cutting words that we don't write; and a checkout that is none."""
    other = changed(tiny_base(tmp_path / "family"), model_type="gemma")
    scaled = changed(tiny_base(tmp_path / "scaled"), rope_parameters={"rope_type": "yarn", "rope_theta": 1e4})
    cut = tiny_base(tmp_path / "cut")
    told = json.loads((cut / "tokenizer.json").read_text())
    told["pre_tokenizer"] = {"type": "Whitespace"}
    (cut / "tokenizer.json").write_text(json.dumps(told))
    for base in (other, scaled, cut):
        with pytest.raises(Refused, match=r"training\.llama_cpp_dir"):
            Exporter(Source(base, (adapter,), "m"), tmp_path / "out", nothing).make("gguf-f16")
    with pytest.raises(Missing, match=r"convert_hf_to_gguf\.py"):
        Checkout.find(tmp_path)
