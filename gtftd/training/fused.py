"""Low-rank linear layers, gated MLPs, norms and turned positions as single steps of autograd: half the activations,
and no passes in between.

What peft and transformers do in several operations, each of which keeps its result for the backward pass. In float32
the numbers are the same but for the order of additions. In bfloat16 what an adapter adds is summed with what the base
says before that is rounded: peft rounds both, and a young adapter, which adds less than half a last bit, learns less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ADAPTER = "default"
_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")
"""Classes of transformers that say weight * x / sqrt(mean(x x) + epsilon); others so named add one to the weight."""
_ATTENTIONS = ("LlamaAttention", "MistralAttention", "Qwen2Attention", "Qwen3Attention")
_TURN = "apply_rotary_pos_emb"
"""What those call by this name turns the second half of each head against the first (Su et al. 2021)."""
_DTYPES = (torch.float32, torch.bfloat16)


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
        elif _is_attention(module):
            module.forward = MethodType(_attention(type(module)), module)
            count += 1
    return count


def _is_plain(module: Any) -> bool:
    """A linear layer with one ordinary low-rank adapter."""
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
    return base.weight.dtype in _DTYPES and all(part.weight.dtype == torch.float32 for part in (low, high))


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
    return module.weight.dtype in _DTYPES and not module.weight.requires_grad


def _is_attention(module: Any) -> bool:
    kind = type(module)
    if kind.__name__ not in _ATTENTIONS or not isinstance(kind.forward, FunctionType):
        return False
    return _TURN in kind.forward.__code__.co_names


def _attention(kind: type[nn.Module]) -> Callable[..., Any]:
    """The family's own `forward`, with our `turn` in the place of theirs: one module's alone, nothing is patched."""
    theirs: Any = kind.forward
    ours = FunctionType(
        theirs.__code__, {**theirs.__globals__, _TURN: _turn}, theirs.__name__, theirs.__defaults__, theirs.__closure__
    )
    ours.__kwdefaults__ = theirs.__kwdefaults__
    return ours


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
        """To the bit what an adapter says that adds nothing."""
        weight, low, high = self.factors
        flat = x.reshape(-1, x.shape[-1])
        out, _ = _apply(flat, (weight, low, torch.zeros_like(high)), self.scale, self.bias)
        return out.view(*x.shape[:-1], -1)


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
    """Kept are x and one number a token. Reckoned in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = _widened(x)
        square = torch.mul(wide, wide, out=_scratch(1, wide))
        rate = square.mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, rate, weight)
        return (wide * rate).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        x, rate, weight = ctx.saved_tensors
        wide = _widened(x)
        gradient = torch.mul(outputs[0], weight, out=_scratch(1, wide))
        along = torch.mul(gradient, wide, out=_scratch(2, wide)).mean(-1, keepdim=True)
        back = (gradient * rate).addcmul_(wide, along.mul_(rate.pow(3)), value=-1)
        return back.to(x.dtype), None, None


def _turn(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """(1, heads, length, head) each; cosines and sines (1, length, head)."""
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return _Turn.apply(query, cos, sin), _Turn.apply(key, cos, sin)  # type: ignore[no-untyped-call]


class _Turn(torch.autograd.Function):
    """Nothing is kept but the angles, which all layers share; one block is made instead of five."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        half = x.shape[-1] // 2
        out = x * cos
        out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        out[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return out

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (cos, sin) = outputs, ctx.saved_tensors
        half = gradient.shape[-1] // 2
        back = gradient * cos
        back[..., :half].addcmul_(gradient[..., half:], sin[..., half:])
        back[..., half:].addcmul_(gradient[..., :half], sin[..., :half], value=-1)
        return back, None, None


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


_workspace: dict[tuple[int, torch.dtype], Tensor] = {}


def _scratch(slot: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for what lives no longer than one step, used again and again: a new block each time is dear."""
    key = (slot, dtype or like.dtype)
    found = _workspace.get(key)
    if found is None or found.numel() < like.numel() or found.device != like.device:
        found = _workspace[key] = torch.empty(like.numel(), dtype=key[1], device=like.device)
    return found[: like.numel()].view(like.shape)


def _widened(x: Tensor) -> Tensor:
    """As float32: itself, or in the first of the scratches."""
    return x if x.dtype == torch.float32 else _scratch(0, x, torch.float32).copy_(x)


def _apply(x: Tensor, factors: Sequence[Tensor], scale: float, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(n, out) and (n, rank)"""
    weight, low, high = factors
    inner = x @ low.to(x.dtype).t()
    if x.dtype == torch.float32:
        return functional.linear(x, weight, bias).addmm_(inner, high.t(), alpha=scale), inner
    both = torch.cat([weight, (high * scale).to(x.dtype)], 1)
    return functional.linear(torch.cat([x, inner], 1), both, bias), inner


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
    weight, low, high = (factor.to(x.dtype) for factor in factors)
    inner_gradient, kept = (gradient @ high).mul_(scale), 1.0 if add else 0.0
    if back is not None and x.dtype == torch.float32:
        torch.addmm(back, gradient, weight, beta=kept, out=back).addmm_(inner_gradient, low)
    elif back is not None:
        torch.addmm(back, torch.cat([gradient, inner_gradient], 1), torch.cat([weight, low]), beta=kept, out=back)
    of_low, of_high = inner_gradient.t() @ x, (gradient.t() @ inner).mul_(scale)
    return of_low.to(factors[1].dtype), of_high.to(factors[2].dtype)
