"""Signs of life within one step: a long row on a slow machine takes longer than a supervisor waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor, nn

EVERY_S = 1.0


def beat_in_layers(trunk: nn.Module, beat: Callable[[], None]) -> None:
    """`beat` as each layer has been computed, forwards and backwards, once a second at most. No value is touched."""
    last_s = time.monotonic()

    def tick() -> None:
        nonlocal last_s
        if (now := time.monotonic()) - last_s >= EVERY_S:
            last_s = now
            beat()

    def hook(_: nn.Module, __: object, output: object) -> None:
        tick()
        hidden = output[0] if isinstance(output, tuple) else output
        if isinstance(hidden, Tensor) and hidden.requires_grad:
            hidden.register_hook(lambda _: tick())  # type: ignore[no-untyped-call]

    for layer in _layers(trunk):
        layer.register_forward_hook(hook)


def _layers(trunk: nn.Module) -> list[nn.Module]:
    """Of its longest list of modules: what repeats in a transformer."""
    lists = [list(module) for module in trunk.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
