"""The model that learns: a base from a local folder, its trunk and its head apart."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gtftd.errors import Invalid, Missing
from gtftd.training.attention import Stretch, stretches, use_stretches
from gtftd.training.layout import Layout
from gtftd.training.lengths import extra
from gtftd.training.losses import Targets, shift, token_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PEFT_SWITCH = "_disable_adapters"
_RESHAPED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Settings of families whose head does more than multiply (Gemma 2, Granite, Cohere): our head would be wrong."""


@dataclass
class Learner:
    """A causal model with an adapter in it."""

    causal: PreTrainedModel
    trunk: nn.Module
    """Everything below the head, adapter included."""
    head: Tensor
    """(vocabulary, hidden), frozen."""
    bias: Tensor | None
    device: torch.device
    adapter: dict[str, nn.Parameter] = field(default_factory=dict)
    """What is learned, by name; float32."""
    begun: dict[str, Tensor] | None = None
    """The adapter we began from; None: a fresh one, which does nothing."""
    peft: object = None
    """What peft made of it, to be written by it."""

    def token_losses(self, layout: Layout) -> tuple[Tensor, Targets]:
        """-log p of each supervised token, (n,): one forward pass of the trunk, and of the head where it is needed."""
        targets = shift(layout, self.device)
        hidden = self._hidden(layout)[targets.where]  # (n, hidden)
        return token_losses(hidden, self.head, self.bias, targets.tokens), targets

    def logits(self, layout: Layout) -> tuple[Tensor, Targets]:
        """What each supervised token is predicted by, (n, vocabulary) in float32, whole: for a few tokens."""
        targets = shift(layout, self.device)
        return functional.linear(self._hidden(layout)[targets.where], self.head, self.bias).float(), targets

    def _hidden(self, layout: Layout) -> Tensor:
        """(length, hidden)"""
        length = len(layout.tokens)
        more = extra(length, self.head)
        padding = (Stretch(length, length + more),) if more else ()
        outputs = self.trunk(
            input_ids=self._line(layout.tokens, more),
            position_ids=self._line(layout.positions, more),
            stretches=(*stretches(layout), *padding),
            use_cache=False,
        )
        hidden: Tensor = outputs.last_hidden_state[0, :length]
        return hidden

    def _line(self, values: object, more: int) -> Tensor:
        return functional.pad(torch.as_tensor(values, dtype=torch.long, device=self.device), (0, more))[None]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """The model as it was before the run, without gradients: the adapter off, or the one we began from.

        Not between a forward pass and its backward: the same weights serve both.
        """
        was_training = self.trunk.training
        self.trunk.eval()
        swap = self._adapter_off() if self.begun is None else self._adapter_as_begun(self.begun)
        try:
            with torch.no_grad(), swap:
                yield
        finally:
            self.trunk.train(was_training)

    @contextmanager
    def _adapter_off(self) -> Iterator[None]:
        layers = [module for module in self.trunk.modules() if hasattr(module, "lora_A")]
        for layer in layers:
            setattr(layer, _PEFT_SWITCH, True)  # peft's own switch also freezes the weights, one by one
        try:
            yield
        finally:
            for layer in layers:
                setattr(layer, _PEFT_SWITCH, False)

    @contextmanager
    def _adapter_as_begun(self, begun: dict[str, Tensor]) -> Iterator[None]:
        now = {name: tensor.detach().clone() for name, tensor in self.adapter.items()}
        self.put_adapter(begun)
        try:
            yield
        finally:
            self.put_adapter(now)

    def copy_adapter(self) -> dict[str, Tensor]:
        """On the CPU, by the names of `adapter`."""
        return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self.adapter.items()}

    def put_adapter(self, tensors: dict[str, Tensor]) -> None:
        """Raises Invalid when these are the weights of another adapter."""
        if tensors.keys() != self.adapter.keys():
            raise Invalid(
                f"{len(tensors)} tensors for an adapter of {len(self.adapter)}: it is another adapter's state"
            )
        with torch.no_grad():
            for name, tensor in tensors.items():
                self.adapter[name].copy_(tensor)


def load_base(folder: Path, *, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """From a local folder only, and no code from it; every weight frozen. Without a `dtype`: what is fast here.

    Raises Missing or Invalid.
    """
    from transformers import AutoModelForCausalLM, PreTrainedModel  # seconds: not for those who only want `Learner`

    if not (folder / "config.json").is_file():
        raise Missing(f"{folder} holds no config.json: no base model is there")
    quiet_transformers()
    device = choose_device()
    try:
        causal = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
            dtype=dtype or choose_dtype(device),
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise Invalid(f"the base model in {folder} does not load: {error}") from error
    assert isinstance(causal, PreTrainedModel)
    _check_head(causal)
    causal.requires_grad_(requires_grad=False)
    causal.to(device)  # type: ignore[arg-type]  # the decorator of transformers hides the signature
    return causal


def quiet_transformers() -> None:
    """Neither bars nor advice in the log of a run."""
    from transformers.utils import logging as chatter

    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]
    chatter.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("transformers").propagate = False


def _check_head(causal: PreTrainedModel) -> None:
    for name in _RESHAPED_LOGITS:
        if getattr(causal.config, name, None) not in {None, 1.0}:
            raise Invalid(f"models of type {causal.config.model_type} reshape their logits ({name}): not supported")


def make_learner(causal: PreTrainedModel) -> Learner:
    """The parts of a model that has its adapter already."""
    head = causal.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(head, nn.Linear):
        raise Invalid(f"the head of {causal.config.model_type} is no linear layer: not supported")
    trunk = causal.base_model
    assert isinstance(trunk, nn.Module)
    trunk.train()
    use_stretches(causal)
    return Learner(
        causal=causal,
        trunk=trunk,
        head=head.weight,
        bias=head.bias,
        device=head.weight.device,
    )


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where there are units for it; on other CPUs it is twenty times slower than float32."""
    if device.type == "cuda":
        return torch.bfloat16
    flags = _cpu_flags()
    return torch.bfloat16 if flags & {"amx_bf16", "avx512_bf16"} else torch.float32


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
