"""The header of a GGUF file, believed in nothing (github.com/ggml-org/ggml, docs/gguf.md): versions 2 and 3."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.registry.regular import open_regular, size_of
from gtftd.registry.tensors import MAX_TENSORS, TensorInfo, count_elements

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_PAIRS = 100_000
MAX_HEADER_BYTES = 512_000_000
MAX_STEPS = 4_000_000
"""Strings and arrays of one header: each costs a step of ours."""
MAX_ARRAY_DEPTH = 4
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 63
"""GGML_MAX_NAME with its final NUL is 64."""
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 16
UINT32, STRING, ARRAY = 4, 8, 9
VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}  # fmt: skip
"""Number -> name, elements of a block, bytes of a block; as in ggml (gguf-py gives Q8_1 40, the struct has 36)."""


def check_gguf(path: Path) -> tuple[TensorInfo, ...]:
    """The tensors in the order of their data. Reads the header alone; raises Invalid with the reason."""
    with open_regular(path) as file:
        header = _Header(file, size_of(file))
        header.check_start()
        tensor_count, pair_count = header.uint64(), header.uint64()
        if tensor_count > MAX_TENSORS or pair_count > MAX_PAIRS:
            raise Invalid(f"the header tells of {tensor_count} tensors and {pair_count} values; that is too many")
        alignment = _read_pairs(header, pair_count)
        told = [_read_tensor(header) for _ in range(tensor_count)]
        data_bytes = max(header.size - _padded(header.at, alignment), 0)
    return _placed(told, alignment, data_bytes)


@dataclass(frozen=True)
class _Told:
    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    offset: int


class _Header:
    """A file read forward; nothing is read or skipped that is not there."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self.size = size
        self.at = 0
        self._file = file
        self._steps = 0

    def check_start(self) -> None:
        if self.take(4) != MAGIC:
            raise Invalid("the file does not begin as a GGUF file does")
        version = self.uint32()
        if version not in VERSIONS:
            raise Invalid(f"the file is of GGUF version {version}, or big endian; known are {VERSIONS}, little endian")

    def take(self, count: int) -> bytes:
        self._advance(count)
        content = self._file.read(count)
        if len(content) != count:
            raise Invalid("the file ended while it was read")
        return content

    def skip(self, count: int) -> None:
        self._advance(count)
        self._file.seek(self.at)

    def step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Invalid(f"the header holds more than {MAX_STEPS} strings and arrays")

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def uint64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self, most_bytes: int) -> str:
        length = self.uint64()
        if length > most_bytes:
            raise Invalid(f"a name in the header has {length} bytes; at most {most_bytes} are allowed")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise Invalid("a name in the header is not UTF-8") from error

    def _advance(self, count: int) -> None:
        self.at += count
        if self.at > self.size:
            raise Invalid("the file ends within its header")
        if self.at > MAX_HEADER_BYTES:
            raise Invalid(f"the header has more than {MAX_HEADER_BYTES} bytes")


def _read_pairs(header: _Header, count: int) -> int:
    """Passes over the values; returns the alignment of the data."""
    keys: set[str] = set()
    alignment = 32
    for _ in range(count):
        key, kind = header.text(MAX_KEY_BYTES), header.uint32()
        if key in keys:
            raise Invalid(f"the key {key[:80]!r} stands twice")
        keys.add(key)
        if key == "general.alignment":
            alignment = _read_alignment(header, kind)
        else:
            _pass_value(header, kind, 0)
    return alignment


def _read_alignment(header: _Header, kind: int) -> int:
    if kind != UINT32:
        raise Invalid("general.alignment is not a uint32")
    alignment = header.uint32()
    if alignment.bit_count() != 1 or alignment > MAX_ALIGNMENT:
        raise Invalid(f"general.alignment is {alignment}, not a power of two up to {MAX_ALIGNMENT}")
    return alignment


def _pass_value(header: _Header, kind: int, depth: int) -> None:
    if kind in VALUE_BYTES:
        header.skip(VALUE_BYTES[kind])
    elif kind == STRING:
        header.step()
        header.skip(header.uint64())
    elif kind == ARRAY:
        header.step()
        _pass_array(header, depth + 1)
    else:
        raise Invalid(f"a value in the header is of the unknown type {kind}")


def _pass_array(header: _Header, depth: int) -> None:
    if depth > MAX_ARRAY_DEPTH:
        raise Invalid(f"arrays in the header are nested deeper than {MAX_ARRAY_DEPTH} levels")
    kind, count = header.uint32(), header.uint64()
    if kind in VALUE_BYTES:
        header.skip(count * VALUE_BYTES[kind])
        return
    if kind not in (STRING, ARRAY):
        raise Invalid(f"an array in the header is of the unknown type {kind}")
    if count > MAX_STEPS:
        raise Invalid(f"an array in the header has {count} elements; at most {MAX_STEPS} are allowed")
    for _ in range(count):
        _pass_value(header, kind, depth)


def _read_tensor(header: _Header) -> _Told:
    name, dimensions = header.text(MAX_NAME_BYTES), header.uint32()
    if dimensions > MAX_DIMENSIONS:
        raise Invalid(f"the tensor {name!r} has {dimensions} dimensions; at most {MAX_DIMENSIONS} are allowed")
    shape: tuple[int, ...] = struct.unpack(f"<{dimensions}Q", header.take(8 * dimensions))
    kind, offset = header.uint32(), header.uint64()
    if kind not in TENSOR_TYPES:
        raise Invalid(f"the tensor {name!r} is of the unknown type {kind}")
    dtype, block, block_bytes = TENSOR_TYPES[kind]
    elements = count_elements(shape, name)
    if (shape[0] if shape else 1) % block:
        raise Invalid(f"the rows of {name!r} are no multiple of {block}, as {dtype} asks for")
    return _Told(name, dtype, shape, elements // block * block_bytes, offset)


def _placed(told: list[_Told], alignment: int, data_bytes: int) -> tuple[TensorInfo, ...]:
    """Each begins where the one before ends, aligned; the file ends with the last, padded or not."""
    if len({one.name for one in told}) != len(told):
        raise Invalid("a tensor stands twice in the header")
    reached = 0
    for one in told:
        if one.offset != _padded(reached, alignment):
            raise Invalid(f"the data of {one.name!r} begins at {one.offset}, expected at {_padded(reached, alignment)}")
        reached = one.offset + one.size_bytes
        if reached > data_bytes:
            raise Invalid(f"the data of {one.name!r} ends at {reached}, beyond the {data_bytes} bytes that there are")
    if data_bytes > _padded(reached, alignment):
        raise Invalid(f"the tensors end at byte {reached} of the data, the file at {data_bytes}")
    return tuple(TensorInfo(one.name, one.dtype, one.shape, one.offset, one.offset + one.size_bytes) for one in told)


def _padded(count: int, alignment: int) -> int:
    return count + -count % alignment
