"""What the header of a tensor file says about one tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gtftd.errors import Invalid

MAX_ELEMENTS = (1 << 63) - 1
MAX_TENSORS = 100_000


@dataclass(frozen=True)
class TensorInfo:
    """`begin` and `end` are bytes from the start of the data, which follows the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def count_elements(shape: Iterable[int], name: str) -> int:
    """The product. Raises Invalid when it leaves 63 bits on the way, as it would in a reader written in C."""
    elements = 1
    for dimension in shape:
        elements *= dimension
        if not 0 <= dimension <= MAX_ELEMENTS or elements > MAX_ELEMENTS:
            raise Invalid(f"the shape of {name[:80]!r} is impossible")
    return elements
