"""The header of a safetensors file, believed in nothing (github.com/huggingface/safetensors, "Format").

Stricter than the official reader in this: a header has no repeated and no unknown keys, and at most 100 000 tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.registry.bounded_json import JSON, parse_json
from gtftd.registry.regular import open_regular, size_of
from gtftd.registry.tensors import MAX_TENSORS, TensorInfo, count_elements

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
MAX_DIMENSIONS = 64
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
    "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


def check_safetensors(path: Path) -> tuple[TensorInfo, ...]:
    """The tensors in the order of their data. Reads the header alone; raises Invalid with the reason."""
    with open_regular(path) as file:
        size = size_of(file)
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        data_bytes = size - LENGTH_BYTES - length
        if size < LENGTH_BYTES or data_bytes < 0:
            raise Invalid(f"{path.name} ends within its header")
        if length > MAX_HEADER_BYTES:
            raise Invalid(f"the header of {path.name} has {length} bytes; at most {MAX_HEADER_BYTES} are allowed")
        content = file.read(length)
    if len(content) != length or not content.startswith(b"{"):
        raise Invalid(f"{path.name} does not begin with a header of safetensors")
    return read_header(parse_json(content, f"the header of {path.name}"), data_bytes)


def read_header(header: JSON, data_bytes: int) -> tuple[TensorInfo, ...]:
    """The tensors must cover the data without a gap and without an overlap."""
    if not isinstance(header, dict):
        raise Invalid("the header is no object")
    _check_metadata(header.pop("__metadata__", None))
    if len(header) > MAX_TENSORS:
        raise Invalid(f"the header names {len(header)} tensors; at most {MAX_TENSORS} are allowed")
    tensors = sorted((_tensor(name, told) for name, told in header.items()), key=lambda one: (one.begin, one.end))
    reached = 0
    for tensor in tensors:
        if tensor.begin != reached:
            raise Invalid(f"the data of {tensor.name[:80]!r} begins at {tensor.begin}, expected at {reached}")
        reached = tensor.end
    if reached != data_bytes:
        raise Invalid(f"the tensors end at byte {reached} of the data, the file at {data_bytes}")
    return tuple(tensors)


def _tensor(name: str, told: JSON) -> TensorInfo:
    _check_text(name)
    if not isinstance(told, dict) or set(told) != {"dtype", "shape", "data_offsets"}:
        raise Invalid(f"the tensor {name[:80]!r} is not told by dtype, shape and data_offsets")
    dtype, shape, offsets = told["dtype"], _numbers(told["shape"], name), _numbers(told["data_offsets"], name)
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise Invalid(f"the tensor {name[:80]!r} is of an unknown type: {str(dtype)[:40]!r}")
    if len(offsets) != 2 or len(shape) > MAX_DIMENSIONS:
        raise Invalid(f"the tensor {name[:80]!r} has {len(shape)} dimensions and {len(offsets)} offsets")
    begin, end = offsets
    if end - begin != count_elements(shape, name) * ITEM_BYTES[dtype]:
        raise Invalid(f"the data of {name[:80]!r} has not the size that its shape and type ask for")
    return TensorInfo(name, dtype, shape, begin, end)


def _numbers(told: JSON, name: str) -> tuple[int, ...]:
    if not isinstance(told, Sequence) or isinstance(told, str):
        raise Invalid(f"the shape or the offsets of {name[:80]!r} are no list")
    numbers = tuple(number for number in told if type(number) is int and number >= 0)
    if len(numbers) != len(told):
        raise Invalid(f"the shape or the offsets of {name[:80]!r} hold something else than whole numbers from 0 on")
    return numbers


def _check_metadata(told: JSON) -> None:
    if told is None:
        return
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise Invalid("__metadata__ is not an object of strings")
    for key, value in told.items():
        _check_text(key)
        _check_text(str(value))


def _check_text(text: str) -> None:
    """JSON can escape half a character, which no file in UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid("a name or a value of the header is no text") from error
