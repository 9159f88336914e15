"""Fused layers: the same answers and gradients as peft's, and only where peft would do the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from gtftd.training.fused import fuse
from gtftd.training.model import load_base
from tests.support.tiny_base import tiny_base

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_every_layer_of_the_known_families_is_fused(tmp_path: Path, family: str) -> None:
    """The attention's four projections and its rotation, the MLP's three and the MLP as a whole; norms, of queries and
    keys too.
    """
    model: Any = adapted(tiny_base(tmp_path / family, family=family))
    norms = 4 if family == "qwen3" else 2
    assert fuse(model) == model.config.num_hidden_layers * (9 + norms) + 1


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_answers_and_gradients_are_those_of_peft(tmp_path: Path, family: str) -> None:
    """With the adapter on, and with an adapter that does something."""
    base = tiny_base(tmp_path / "base", family=family)
    plain, fused = adapted(base), adapted(base)
    assert fuse(fused)
    ours, theirs = answer(fused), answer(plain)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for one, other in zip(gradients(fused), gradients(plain), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_adapter_that_is_off_leaves_the_base(base: Path) -> None:
    model: Any = adapted(base)
    fuse(model)
    with model.disable_adapter():
        off = answer(model)
    torch.testing.assert_close(off, answer(load_base(base)), rtol=1e-5, atol=1e-6)
    assert float((off - answer(model)).abs().max()) > 1e-3


@pytest.mark.parametrize("what", ["dropout", "float64", "merged"])
def test_what_peft_does_otherwise_is_left_to_it(base: Path, what: str) -> None:
    model: Any = adapted(base, dropout=0.1 if what == "dropout" else 0.0)
    if what == "float64":
        model.double()
    if what == "merged":
        model.merge_adapter()
    layers = model.config.num_hidden_layers
    norms, rotations = (0 if what == "float64" else layers * 2 + 1), layers
    assert fuse(model) == norms + rotations


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_in_bfloat16_the_truth_is_about_as_near_as_with_peft(tmp_path: Path, family: str) -> None:
    """The truth: the same base, rounded to bfloat16, in float32."""
    base = tiny_base(tmp_path / "base", family=family)
    truth, plain, fused = (adapted(base, rounded=True) for _ in range(3))
    for model in (plain, fused):
        to_bfloat16(model)
    assert fuse(fused) == fuse(adapted(base))
    assert distance(answer(fused), answer(truth)) < 1.1 * distance(answer(plain), answer(truth)) < 0.05
    wanted = torch.cat([one.flatten() for one in gradients(truth)])
    ours, theirs = (torch.cat([one.flatten() for one in gradients(model)]) for model in (fused, plain))
    assert ours.dtype == torch.float32
    assert distance(ours, wanted) < 1.1 * distance(theirs, wanted) < 0.1


def test_in_bfloat16_a_young_adapter_is_heard(base: Path) -> None:
    """It adds less than half of the last bit, which peft rounds away: what it adds is there in the mean."""
    model: Any = adapted(base, rounded=True)
    to_bfloat16(model)
    assert fuse(model)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(4096, layer.in_features).to(torch.bfloat16)
    with torch.no_grad():
        low, high = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        before = layer(x).float()
        high.zero_()
        off = layer(x).float()
        high.normal_(std=2e-4 * float(off.std()))
        wanted = x.float() @ low.t() @ high.t() * layer.scaling["default"]
        added = layer(x).float() - off
    assert wanted.abs().mean() < off.abs().mean() / 2**10 < before.abs().mean() / 2**9
    assert float((added * wanted).sum() / (wanted * wanted).sum()) == pytest.approx(1.0, abs=0.25)
    with model.disable_adapter():
        assert torch.equal(layer(x).float(), off)


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def to_bfloat16(model: nn.Module) -> None:
    """As the loader makes it: an adapter stays as it is."""
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.to(torch.bfloat16)


def adapted(base: Path, *, dropout: float = 0.0, rounded: bool = False) -> nn.Module:
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers
        model: nn.Module = get_peft_model(load_base(base), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
        if rounded and "lora_" not in name:
            parameter.data = parameter.data.to(torch.bfloat16).float()
    return model


def answer(model: Any) -> Tensor:
    tokens = torch.arange(5, 37)[None]
    logits: Tensor = model(input_ids=tokens).logits
    return logits.detach()


def gradients(model: Any) -> list[Tensor]:
    model.zero_grad()
    tokens = torch.arange(5, 37)[None]
    model(input_ids=tokens, labels=tokens).loss.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
