"""Low-rank adapters by peft: put into a model, begun from a folder, written in PEFT's format."""

from __future__ import annotations

import contextlib
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from transformers import PreTrainedModel

from gtftd.errors import Invalid, Missing
from gtftd.schemas.registry import Kind
from gtftd.schemas.training import LoraSettings
from gtftd.state.files import fsync_folder, write_atomic
from gtftd.training.fused import fuse
from gtftd.training.model import Learner, make_learner

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def attach(causal: PreTrainedModel, settings: LoraSettings, *, begin: Path | None, kind: Kind) -> Learner:
    """The model with an adapter to learn. Draws from torch's random state: seed it before.

    `begin`: the adapter of a role run goes on from it; a task's is stacked on it, and it stays as it is.
    """
    if begin is not None and kind == "task":
        causal = _merge(causal, begin)
        begin = None
    if begin is not None:
        _check_same(begin, settings)
    try:
        with _without_warnings():
            model = get_peft_model(causal, _config(settings))
    except ValueError as error:  # a layer that the base has not, or of which peft knows no adapter
        raise Invalid(f"lora.targets: {str(error)[:300]}") from error
    assert isinstance(model, PeftModel)
    learner = make_learner(causal)
    learner.adapter = _adapter(model)
    if begin is not None:
        _put(model, begin)
        learner.begun = {name: tensor.detach().clone() for name, tensor in learner.adapter.items()}
    learner.peft = model
    fuse(model)
    return learner


def write_adapter(learner: Learner, folder: Path, *, base_name: str) -> None:
    """A folder as peft reads it; it is there whole or not at all. One from before is replaced.

    Raises NoSpace; then nothing of it is there.
    """
    assert isinstance(learner.peft, PeftModel)
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(mode=0o700)
        tensors = get_peft_model_state_dict(learner.peft)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_atomic(aside / WEIGHTS, save(tensors, metadata={"format": "pt"}))
        write_atomic(aside / CONFIG, _describe(learner.peft, base_name))
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    fsync_folder(folder.parent)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Peft asks transformers by names that it gives up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _config(settings: LoraSettings) -> LoraConfig:
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # any number does
        lora_dropout=settings.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )


def _adapter(model: PeftModel) -> dict[str, nn.Parameter]:
    """Raises Invalid when something else than low-rank factors would be learned."""
    learned = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    strange = [name for name in learned if ".lora_" not in name or "lm_head" in name]
    if strange:
        raise Invalid(f"lora.targets names {strange[0]}: only linear layers below the head can be adapted")
    for tensor in learned.values():
        tensor.data = tensor.data.to(torch.float32)
    return learned


def _merge(causal: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The weights with the adapter added to them, in memory."""
    _read_config(folder)
    _read_weights(folder)  # says what is wrong with them; peft would ask a hub for what is not here
    with _without_warnings():
        merged = PeftModel.from_pretrained(causal, str(folder)).merge_and_unload()
    assert isinstance(merged, PreTrainedModel)
    merged.requires_grad_(requires_grad=False)
    return merged


def _check_same(folder: Path, settings: LoraSettings) -> None:
    found = _read_config(folder)
    for key, asked in (("r", settings.rank), ("lora_alpha", settings.alpha)):
        if found.get(key) != asked:
            name = "rank" if key == "r" else "alpha"
            raise Invalid(f"the adapter in {folder} has {name} {found.get(key)}, the settings {asked}: set lora.{name}")


def _put(model: PeftModel, folder: Path) -> None:
    """Raises Invalid when not all of the adapter has a place: the run would go on from something else."""
    put: Any = set_peft_model_state_dict(model, _read_weights(folder))
    left = put.unexpected_keys
    if left:
        raise Invalid(
            f"the adapter in {folder} also adapts {left[0]} ({len(left)} tensors more than the settings ask for): set "
            "lora.targets to what it was trained with"
        )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError as error:
        raise Missing(f"{folder} holds no {CONFIG}: no adapter is there") from error
    except ValueError as error:
        raise Invalid(f"{folder / CONFIG} is no JSON") from error
    if not isinstance(found, dict) or found.get("peft_type") != "LORA":
        raise Invalid(f"{folder} holds no LoRA adapter")
    return found


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise Invalid(f"{folder / WEIGHTS} cannot be read: {error}") from error


def _describe(model: PeftModel, base_name: str) -> bytes:
    """As peft says it description, in one order and with the base's name instead of a path of this machine."""
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": base_name, "inference_mode": True}
    return (json.dumps(config, indent=2, sort_keys=True, default=sorted) + "\n").encode()
