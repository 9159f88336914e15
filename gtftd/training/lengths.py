"""Few lengths instead of many, where each costs memory.

For bfloat16 on a CPU oneDNN compiles a kernel for each shape that it meets, and those of attention torch keeps for as
long as it lives: 7 MB for each length of a sequence (torch 2.13). So lengths are rounded up there, with tokens that
nothing sees.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

STEP = 128


def extra(length: int, like: Tensor) -> int:
    """How many tokens to add to as many, of the type and on the device of `like`."""
    return -length % STEP if like.device.type == "cpu" and like.dtype == torch.bfloat16 else 0


def lengthen(x: Tensor) -> Tensor:
    """(..., length, width) with zeros behind; itself where nothing is to be added."""
    more = extra(x.shape[-2], x)
    return functional.pad(x, (0, 0, 0, more)) if more else x
