"""What a child says when it lacks memory, has another tokenizer than was planned, or takes long for a layer."""

from __future__ import annotations

import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gtftd.errors import Invalid, Missing, NotReady, Refused
from gtftd.schemas.training import RunSpec, TrainSettings
from gtftd.training import memory, pulse
from gtftd.training.base_tokenizer import check_base, tokenizer_sum
from tests.support.jobs import spec
from tests.support.tiny_base import tiny_base

AT = datetime(2026, 11, 22, tzinfo=UTC)
STARVED = """
import numpy, resource, torch
from gtftd.training import memory
resource.setrlimit(resource.RLIMIT_DATA, (2**30, resource.getrlimit(resource.RLIMIT_DATA)[1]))
for ask in (lambda: torch.ones(2**29), lambda: bytearray(2**31), lambda: numpy.ones(2**29)):
    try:
        ask()
    except (MemoryError, RuntimeError) as error:
        assert memory.is_refused(error), error
        print(memory.complain(error))
"""


def test_a_refusal_of_memory_is_known_whoever_says_it() -> None:
    """Torch, Python and numpy under a real limit."""
    told = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, check=True)
    expected = (
        "it needed more memory than the 1,024 MiB that it may take; lower data.most_tokens, take a smaller base, or "
        "set memory_bytes higher"
    )
    assert [expected] * 3 == told.stdout.splitlines()
    assert not memory.is_refused(RuntimeError("shapes do not match"))
    assert "than the GPU has" in memory.complain(torch.OutOfMemoryError("CUDA out of memory."))
    if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
        assert "than there was" in memory.complain(MemoryError())


def test_a_run_that_has_begun_waits_for_memory(tmp_path: Path) -> None:
    """Others have it now. What it may never have is refused all the same."""
    needed = memory.estimate(memory.read_shape(tiny_base(tmp_path)), TrainSettings())
    with pytest.raises(Refused):
        memory.check_room(needed, TrainSettings(), 2**20)
    with pytest.raises(NotReady):
        memory.check_room(needed, TrainSettings(), 2**20, has_begun=True)
    with pytest.raises(Refused):
        memory.check_room(needed, TrainSettings(memory_bytes=2**20), 2**40, has_begun=True)


def test_a_base_with_another_tokenizer_is_not_trained_on(tmp_path: Path) -> None:
    """Or with another chat template: every token would mean something else."""
    base = tiny_base(tmp_path / "base")
    planned = RunSpec(**{**dict(spec("one", tmp_path)), "base": str(base), "tokenizer_sha256": tokenizer_sum(base)})
    check_base(planned)
    template = base / "chat_template.jinja"
    template.write_text(template.read_text() + "\nBe brief.")
    with pytest.raises(Invalid, match="the tokenizer or the chat template of tiny was changed since"):
        check_base(planned)
    (base / "tokenizer.json").unlink()
    with pytest.raises(Missing, match="the base tiny is gone"):
        check_base(planned)


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            values = layer(values)
        return values


def test_a_long_step_beats_in_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards and backwards; the numbers are those without it. Not more often than once in a while."""
    torch.manual_seed(0)
    trunk, values = Trunk(), torch.from_numpy(np.ones((2, 4), np.float32))
    trunk(values).sum().backward()
    plain = [parameter.grad.clone() for parameter in trunk.parameters() if parameter.grad is not None]
    beats: list[str] = []
    monkeypatch.setattr(pulse, "EVERY_S", 0.0)
    pulse.beat_in_layers(trunk, lambda: beats.append("beat"))
    trunk.zero_grad()
    trunk(values).sum().backward()
    assert 6 == len(beats)
    assert all(
        torch.equal(was, now.grad) for was, now in zip(plain, trunk.parameters(), strict=True) if now.grad is not None
    )
    monkeypatch.setattr(pulse, "EVERY_S", 3600.0)
    trunk(values)
    assert 6 == len(beats)
