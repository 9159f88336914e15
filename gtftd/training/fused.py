"""Low-rank linear layers, gated MLPs and norms as single steps of autograd: half the activations, and no passes in
between.

What peft and transformers do in several operations, each of which keeps its result for the backward pass. The numbers
are the same but for the order of additions. Used where every weight is float32; elsewhere layers stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ADAPTER = "default"
_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")
"""Classes of transformers that say weight * x / sqrt(mean(x x) + epsilon); others so named add one to the weight."""


def fuse(model: nn.Module) -> int:
    """Make the layers of a model with a LoRA adapter faster; how many were. The adapter can still be switched off."""
    count = 0
    for module in model.modules():
        if _is_gated(module):
            module.forward = _Gated(module)
            count += 1
        elif _is_plain(module):
            module.forward = _Linear(module)
            count += 1
        elif _is_norm(module):
            module.forward = _Norm(module)
            count += 1
    return count


def _is_plain(module: Any) -> bool:
    """A linear layer with one ordinary low-rank adapter, all in float32."""
    if not hasattr(module, "lora_A") or list(getattr(module, "active_adapters", ())) != [ADAPTER]:
        return False
    base = module.get_base_layer()
    if not isinstance(base, nn.Linear) or ADAPTER not in module.lora_A or module.merged:
        return False
    low, high = module.lora_A[ADAPTER], module.lora_B[ADAPTER]
    if (
        ADAPTER in module.lora_variant
        or not isinstance(module.lora_dropout[ADAPTER], nn.Identity)
        or high.bias is not None
    ):
        return False
    return all(part.weight.dtype == torch.float32 for part in (base, low, high))


def _is_gated(module: Any) -> bool:
    """down(silu(gate(x)) * up(x)), as in Llama, Mistral and Qwen."""
    from transformers.activations import ACT2FN

    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not all(part is not None and _is_plain(part) and part.get_base_layer().bias is None for part in parts):
        return False
    return isinstance(getattr(module, "act_fn", None), nn.SiLU | type(ACT2FN["silu"]))


def _is_norm(module: Any) -> bool:
    if type(module).__name__ not in _NORMS:
        return False
    return module.weight.dtype == torch.float32 and not module.weight.requires_grad


class _Layer:
    """One linear layer with its adapter; its weights are not held, so that they can be given back."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.scale = float(module.scaling[ADAPTER])

    @property
    def is_off(self) -> bool:
        return bool(self._module.disable_adapters)

    @property
    def bias(self) -> Tensor | None:
        found: Tensor | None = self._module.get_base_layer().bias
        return found

    @property
    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The frozen weight, A and B."""
        module = self._module
        return module.get_base_layer().weight, module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight

    def plain(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.factors[0], self.bias)


class _Linear:
    """In the place of a layer's `forward`."""

    def __init__(self, module: Any) -> None:
        self._layer = _Layer(module)

    def __call__(self, x: Tensor) -> Tensor:
        layer = self._layer
        if layer.is_off:
            return layer.plain(x)
        out: Tensor = _LowRank.apply(x, layer.bias, layer.scale, *layer.factors)  # type: ignore[no-untyped-call]
        return out


class _Gated:
    """In the place of an MLP's `forward`."""

    def __init__(self, module: Any) -> None:
        self._layers = tuple(_Layer(part) for part in (module.gate_proj, module.up_proj, module.down_proj))

    def __call__(self, x: Tensor) -> Tensor:
        gate, up, down = self._layers
        if gate.is_off:
            return down.plain(functional.silu(gate.plain(x)).mul_(up.plain(x)))
        scales = [layer.scale for layer in self._layers]
        factors = (*gate.factors, *up.factors, *down.factors)
        out: Tensor = _LowRankGated.apply(x, scales, *factors)  # type: ignore[no-untyped-call]
        return out


class _Norm:
    """In the place of a norm's `forward`; its weight is not held, so that it can be given back."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, x: Tensor) -> Tensor:
        module = self._module
        out: Tensor = _RmsNorm.apply(x, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
        return out


class _RmsNorm(torch.autograd.Function):
    """Kept are x and one number a token."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        square = torch.mul(x, x, out=_scratch(0, x))
        rate = square.mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, rate, weight)
        return (x * rate).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        x, rate, weight = ctx.saved_tensors
        gradient = torch.mul(outputs[0], weight, out=_scratch(0, outputs[0]))
        along = torch.mul(gradient, x, out=_scratch(1, gradient)).mean(-1, keepdim=True)
        return (gradient * rate).addcmul_(x, along.mul_(rate.pow(3)), value=-1), None, None


class _LowRank(torch.autograd.Function):
    """x W' + b + scale (x A') B': kept are x and x A'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, scale: float, *factors: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        out, inner = _apply(flat, factors, scale, bias)
        ctx.save_for_backward(flat, inner, *factors)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        flat, inner, *factors = ctx.saved_tensors
        gradient = outputs[0].reshape(-1, outputs[0].shape[-1])
        back = torch.empty_like(flat) if ctx.needs_input_grad[0] else None
        learned = _learned(gradient, flat, inner, factors, ctx.scale, back)
        return (back.view(ctx.shape) if back is not None else None), None, None, None, *learned


class _LowRankGated(torch.autograd.Function):
    """Kept are x, what the two gates said, and three times x A'; their product is made again for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: list[float], *factors: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        gate, gate_inner = _apply(flat, factors[0:3], scales[0])
        up, up_inner = _apply(flat, factors[3:6], scales[1])
        product = torch.ops.aten.silu.out(gate, out=_scratch(0, gate)).mul_(up)
        out, down_inner = _apply(product, factors[6:9], scales[2])
        ctx.save_for_backward(flat, gate, up, gate_inner, up_inner, down_inner, *factors)
        ctx.scales, ctx.shape = scales, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        flat, gate, up, gate_inner, up_inner, down_inner, *factors = ctx.saved_tensors
        gradient = outputs[0].reshape(-1, outputs[0].shape[-1])
        opened = torch.ops.aten.silu.out(gate, out=_scratch(0, gate))
        product = torch.mul(opened, up, out=_scratch(1, gate))
        middle = _scratch(2, gate)
        down_back = _learned(gradient, product, down_inner, factors[6:9], ctx.scales[2], middle)
        up_gradient = opened.mul_(middle)
        gate_gradient = torch.ops.aten.silu_backward.grad_input(middle.mul_(up), gate, grad_input=product)
        back = torch.empty_like(flat) if ctx.needs_input_grad[0] else None
        gate_back = _learned(gate_gradient, flat, gate_inner, factors[0:3], ctx.scales[0], back)
        up_back = _learned(up_gradient, flat, up_inner, factors[3:6], ctx.scales[1], back, add=True)
        whole = back.view(ctx.shape) if back is not None else None
        return (whole, None, None, *gate_back, None, *up_back, None, *down_back)


_workspace: dict[int, Tensor] = {}


def _scratch(slot: int, like: Tensor) -> Tensor:
    """Memory for what lives no longer than one step, used again and again: a new block each time is dear."""
    found = _workspace.get(slot)
    if found is None or found.numel() < like.numel() or found.device != like.device:
        found = _workspace[slot] = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
    return found[: like.numel()].view(like.shape)


def _apply(x: Tensor, factors: Sequence[Tensor], scale: float, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(n, out) and (n, rank)"""
    weight, low, high = factors
    inner = x @ low.t()
    return functional.linear(x, weight, bias).addmm_(inner, high.t(), alpha=scale), inner


def _learned(
    gradient: Tensor,
    x: Tensor,
    inner: Tensor,
    factors: Sequence[Tensor],
    scale: float,
    back: Tensor | None,
    *,
    add: bool = False,
) -> tuple[Tensor, Tensor]:
    """The gradients of A and of B; that of x is written into `back`, or added to it."""
    weight, low, high = factors
    inner_gradient = (gradient @ high).mul_(scale)
    if back is not None:
        torch.addmm(back, gradient, weight, beta=1.0 if add else 0.0, out=back).addmm_(inner_gradient, low)
    return inner_gradient.t() @ x, (gradient.t() @ inner).mul_(scale)
