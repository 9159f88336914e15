"""Headers of tensor files: what the official readers read we read alike, and what they refuse we refuse."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

from gtftd.errors import Invalid
from gtftd.registry.bounded_json import parse_json
from gtftd.registry.tensors import TensorInfo
from gtftd.registry.tensors_gguf import TENSOR_TYPES, check_gguf
from gtftd.registry.tensors_safetensors import ITEM_BYTES, check_safetensors
from tests.support.artifacts import (
    gguf_of,
    mutated,
    pair_of,
    safetensors_of,
    small_gguf,
    small_safetensors,
    strings_of,
    tensor_of,
    text_of,
)

EMPTY_STRINGS = struct.pack("<IQ", 8, 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model"


def official(content: bytes) -> list[tuple[str, str, tuple[int, ...], int]] | None:
    """Name, type, shape and bytes of each tensor; None when the library refuses the file."""
    try:
        found = safetensors.deserialize(content)
    except safetensors.SafetensorError:
        return None
    return sorted((name, told["dtype"], tuple(told["shape"]), len(told["data"])) for name, told in found)


def told_of(tensors: Sequence[TensorInfo]) -> list[tuple[str, str, tuple[int, ...], int]]:
    return sorted((one.name, one.dtype, one.shape, one.end - one.begin) for one in tensors)


@pytest.mark.parametrize("seed", range(20))
def test_files_of_the_official_writer_are_read_alike(file: Path, seed: int) -> None:
    """Names, types, shapes and sizes; the data lies where we say."""
    rng = np.random.default_rng(seed)
    types = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint32, np.bool_]
    arrays = {
        f"layer.{number}": rng.integers(0, 2, rng.integers(0, 5, rng.integers(0, 4))).astype(rng.choice(types))
        for number in range(rng.integers(1, 12))
    }
    save_file(arrays, file, metadata={"format": "pt"} if seed % 2 else None)
    content = file.read_bytes()
    found = check_safetensors(file)
    assert official(content) == told_of(found)
    start = 8 + int.from_bytes(content[:8], "little")
    told = {one.name: content[start + one.begin : start + one.end] for one in found}
    assert {name: array.tobytes() for name, array in arrays.items()} == told


@pytest.mark.parametrize("dtype", list(ITEM_BYTES))
def test_each_known_type_is_known_to_the_official_reader(file: Path, dtype: str) -> None:
    """With the same size."""
    size = 3 * ITEM_BYTES[dtype]
    content = safetensors_of({"a": {"dtype": dtype, "shape": [3], "data_offsets": [0, size]}}, bytes(size))
    file.write_bytes(content)
    assert official(content) == told_of(check_safetensors(file)) == [("a", dtype, (3,), size)]


def one(dtype: object = "U8", shape: object = (4,), offsets: object = (0, 4), **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


HEADERS: dict[str, object] = {
    "no object": [one()],
    "unknown type": {"a": one("F5")},
    "type that is a number": {"a": one(4)},
    "unknown key": {"a": one(more=1)},
    "missing key": {"a": {"dtype": "U8", "shape": [4]}},
    "negative dimension": {"a": one(shape=[-2, -2])},
    "dimension that is no number": {"a": one(shape=["4"])},
    "fractional dimension": {"a": one(shape=[4.0])},
    "boolean dimension": {"a": one(shape=[4, True])},
    "shape that is a word": {"a": one(shape="")},
    "enormous product": {"a": one(shape=[1 << 62, 1 << 62, 0], offsets=[0, 0]), "b": one()},
    "enormous dimension": {"a": one(shape=[1 << 70, 0], offsets=[0, 0]), "b": one()},
    "many dimensions": {"a": one(shape=[1] * 65 + [4])},
    "wrong size": {"a": one(shape=[3])},
    "wrong item size": {"a": one("F32")},
    "one offset": {"a": one(offsets=[4])},
    "offsets reversed": {"a": one(offsets=[4, 0])},
    "beyond the end": {"a": one(shape=[5], offsets=[0, 5])},
    "not to the end": {"a": one(shape=[3], offsets=[0, 3])},
    "nothing": {},
    "gap": {"a": one(shape=[1], offsets=[0, 1]), "b": one(shape=[2], offsets=[2, 4])},
    "overlap": {"a": one(shape=[3], offsets=[0, 3]), "b": one(shape=[2], offsets=[2, 4])},
    "the same place": {"a": one(), "b": one()},
    "not from the start": {"a": one(shape=[3], offsets=[1, 4])},
    "metadata of numbers": {"__metadata__": {"a": 1}, "a": one()},
    "metadata that is a list": {"__metadata__": [], "a": one()},
    "half a character": {"\ud800": one()},
    "half a character in metadata": {"__metadata__": {"a": "\udc00"}, "a": one()},
}


@pytest.mark.parametrize("what", list(HEADERS))
def test_a_wrong_header_is_invalid(file: Path, what: str) -> None:
    """With four bytes of data behind it."""
    file.write_bytes(safetensors_of(HEADERS[what], b"data"))
    with pytest.raises(Invalid):
        check_safetensors(file)


GOOD = json.dumps({"a": one()}).encode()
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "a length alone": b"\0" * 8,
    "an enormous length": b"\xff" * 8 + GOOD,
    "more than 100 MB": (100_000_001).to_bytes(8, "little") + GOOD,
    "repeated name": (len(GOOD) * 2).to_bytes(8, "little") + GOOD[:-1] + b"," + GOOD[1:] + b"data",
    "UTF-16": len(GOOD.decode().encode("utf-16")).to_bytes(8, "little") + GOOD.decode().encode("utf-16") + b"data",
    "space before": (len(GOOD) + 1).to_bytes(8, "little") + b" " + GOOD + b"data",
    "NUL behind": (len(GOOD) + 1).to_bytes(8, "little") + GOOD + b"\0data",
    "not UTF-8": (len(GOOD)).to_bytes(8, "little") + GOOD.replace(b'"a"', b'"\xff"') + b"data",
}


@pytest.mark.parametrize("what", list(CONTENTS))
def test_a_file_that_is_none_is_invalid(file: Path, what: str) -> None:
    """Before a byte of its data is looked at."""
    file.write_bytes(CONTENTS[what])
    with pytest.raises(Invalid):
        check_safetensors(file)


def test_a_length_that_only_a_sparse_file_has_is_refused_unread(file: Path) -> None:
    """The limit of the header holds also where the file is large enough."""
    with file.open("wb") as writing:
        writing.write((1 << 33).to_bytes(8, "little") + b"{")
        writing.truncate(1 << 34)
    with pytest.raises(Invalid, match="at most"):
        check_safetensors(file)


HOSTILE = [
    b"[" * 5_000_000,
    b"[" * 3_000_000 + b"]" * 3_000_000,
    b'{"a":' * 500_000,
    b"[" + b"[]," * 4_000_000 + b"[]]",
    b'"' + b'\\"' * 2_000_000,
    b'"' + b'\\"' * 2_000_000 + b"\\",
    b"1" * 1_000_000,
    b"-" * 1_000_000,
    b"NaN",
    b"[1e999999999, Infinity]",
    b'{"a": 1, "a": 1}',
    b"\xef\xbb\xbf{}",
    b'"\xed\xa0\x80"',
    b"",
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_json_is_invalid_and_costs_little(number: int) -> None:
    """Neither depth nor count nor escapes make it run away; pytest's timeout would tell."""
    with pytest.raises(Invalid):
        parse_json(HOSTILE[number], "it")


def test_brackets_within_strings_are_no_depth() -> None:
    """A vocabulary holds them by the thousand."""
    told = {'[[[[\\"{{{{' * 100: ["]}" * 100]}
    assert told == parse_json(json.dumps(told).encode(), "it")


def test_250_mutated_safetensors_are_refused_or_read_as_the_official_reader_does(file: Path) -> None:
    """125 with the data behind the header, 125 bare headers. Never another error than ours."""
    rng, accepted = random.Random("safetensors"), 0
    content = small_safetensors()
    header = content[: 8 + int.from_bytes(content[:8], "little")]
    for number in range(250):
        harmed = mutated(rng, content if number % 2 else header)
        file.write_bytes(harmed)
        try:
            found = check_safetensors(file)
        except Invalid:
            continue
        accepted += 1
        assert official(harmed) == told_of(found)
    assert 0 < accepted < 100


def test_files_of_the_official_gguf_writer_are_read_alike(file: Path) -> None:
    """Types, shapes and places, with an alignment of its own and arrays of every kind."""
    gguf = pytest.importorskip("gguf")
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_custom_alignment(64)
    writer.add_token_list(["<unk>", "a", "häuser"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_array("some.flags", [True, False])
    writer.add_float64("some.float", 0.5)
    for name, dtype in (("f32", np.float32), ("f16", np.float16), ("i8", np.int8), ("i64", np.int64)):
        writer.add_tensor(name, rng.integers(0, 3, (3, 5)).astype(dtype))
    for kind in ("Q8_0", "Q4_0", "BF16", "TQ1_0", "TQ2_0", "Q5_1"):
        told = gguf.GGMLQuantizationType[kind]
        packed = gguf.quants.quantize(rng.standard_normal((3, 256)).astype(np.float32), told)
        writer.add_tensor(kind.lower(), packed, raw_dtype=told)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert gguf_told(file) == [(one.name, one.dtype, one.shape, one.begin, one.end) for one in check_gguf(file)]


def gguf_told(file: Path) -> list[tuple[str, str, tuple[int, ...], int, int]] | None:
    """What the official reader reads; None when it cannot. It checks little."""
    gguf = pytest.importorskip("gguf")
    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, UnicodeDecodeError, MemoryError):
        return None
    return [
        (
            str(one.name),
            one.tensor_type.name,
            tuple(int(size) for size in one.shape),
            int(one.data_offset) - reader.data_offset,
            int(one.data_offset) - reader.data_offset + int(one.n_bytes),
        )
        for one in reader.tensors
    ]


def test_block_sizes_are_those_of_the_official_table() -> None:
    """Q8_1 excepted: the struct of ggml has 36 bytes, the table of gguf-py says 40; no file holds it."""
    gguf = pytest.importorskip("gguf")
    known = {int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {9} == {kind for kind, told in TENSOR_TYPES.items() if known[kind] != told}


def test_versions_alignments_and_the_last_padding(file: Path) -> None:
    """Version 2 is as 3; the data may end without its padding; a vocabulary alone has no tensors."""
    tensor = tensor_of("a", [3], 0, 0)
    for content in (
        gguf_of([], [tensor], bytes(12), version=2),
        gguf_of([], [tensor], bytes(32)),
        gguf_of([pair_of("general.alignment", 4, struct.pack("<I", 8))], [tensor], bytes(16), align=8),
        gguf_of([pair_of("a", 9, struct.pack("<IQ", 9, 1) + strings_of(["x"]))], [tensor], bytes(12)),
    ):
        file.write_bytes(content)
        assert (TensorInfo("a", "F32", (3,), 0, 12),) == check_gguf(file)
    file.write_bytes(gguf_of([pair_of("tokens", 9, strings_of(["x"] * 1000))], [], b""))
    assert () == check_gguf(file)


def alignment(value: int, kind: int = 4) -> bytes:
    return pair_of("general.alignment", kind, struct.pack("<I", value))


def nested(depth: int) -> bytes:
    return struct.pack("<IQ", 9, 1) * depth + EMPTY_STRINGS


F32 = tensor_of("a", [8], 0, 0)
GGUFS: dict[str, bytes] = {
    "empty": b"",
    "magic alone": b"GGUF",
    "other magic": b"GGML" + small_gguf()[4:],
    "version 1": gguf_of([], [F32], bytes(32), version=1),
    "version 4": gguf_of([], [F32], bytes(32), version=4),
    "big endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "many tensors": b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 0) + bytes(64),
    "many pairs": b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40) + bytes(64),
    "more tensors than there are": b"GGUF" + struct.pack("<IQQ", 3, 90_000, 0) + bytes(64),
    "long key": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62) + bytes(64),
    "long string": gguf_of([pair_of("a", 8, struct.pack("<Q", 1 << 62))], [], b""),
    "long array": gguf_of([pair_of("a", 9, struct.pack("<IQ", 6, 1 << 62))], [], b""),
    "array of a product beyond 64 bits": gguf_of([pair_of("a", 9, struct.pack("<IQ", 12, (1 << 64) - 1))], [], b""),
    "long array of strings": gguf_of([pair_of("a", 9, struct.pack("<IQ", 8, 1 << 40) + bytes(4096))], [], b""),
    "long array of arrays": gguf_of([pair_of("a", 9, struct.pack("<IQ", 9, 1 << 22) + bytes(4096))], [], b""),
    "deep arrays": gguf_of([pair_of("a", 9, nested(5))], [], b""),
    "very deep arrays": gguf_of([pair_of("a", 9, nested(100_000))], [], b""),
    "unknown value": gguf_of([pair_of("a", 13, bytes(8))], [], b""),
    "unknown elements": gguf_of([pair_of("a", 9, struct.pack("<IQ", 13, 0))], [], b""),
    "key twice": gguf_of([pair_of("a", 8, text_of("x"))] * 2, [], b""),
    "key that is no text": gguf_of([pair_of("a", 8, text_of("x")).replace(b"a", b"\xff")], [], b""),
    "alignment 0": gguf_of([alignment(0)], [F32], bytes(32)),
    "alignment 3": gguf_of([alignment(3)], [F32], bytes(32)),
    "alignment of 2 GB": gguf_of([alignment(1 << 31)], [F32], bytes(32)),
    "alignment that is a float": gguf_of([alignment(32, kind=6)], [F32], bytes(32)),
    "five dimensions": gguf_of([], [tensor_of("a", [1] * 5, 0, 0)], bytes(32)),
    "many dimensions": gguf_of([], [text_of("a") + struct.pack("<I", 1 << 31)], bytes(32)),
    "enormous product": gguf_of([], [tensor_of("a", [1 << 62, 1 << 62], 0, 0)], bytes(32)),
    "negative dimension": gguf_of([], [tensor_of("a", [(1 << 64) - 1], 0, 0)], bytes(32)),
    "long name": gguf_of([], [tensor_of("a" * 64, [8], 0, 0)], bytes(32)),
    "name twice": gguf_of([], [F32, tensor_of("a", [8], 0, 32)], bytes(64)),
    "removed type": gguf_of([], [tensor_of("a", [32], 4, 0)], bytes(64)),
    "unknown type": gguf_of([], [tensor_of("a", [32], 1 << 20, 0)], bytes(64)),
    "half a block": gguf_of([], [tensor_of("a", [48], 8, 0)], bytes(64)),
    "offset not aligned": gguf_of([], [tensor_of("a", [8], 0, 4)], bytes(64)),
    "overlap": gguf_of([], [F32, tensor_of("b", [8], 0, 0)], bytes(64)),
    "gap": gguf_of([], [F32, tensor_of("b", [8], 0, 64)], bytes(96)),
    "beyond the end": gguf_of([], [tensor_of("a", [9], 0, 0)], bytes(32)),
    "far beyond the end": gguf_of([], [tensor_of("a", [8], 0, 1 << 63)], bytes(32)),
    "data that nobody names": gguf_of([], [F32], bytes(64)),
}


@pytest.mark.parametrize("what", list(GGUFS))
def test_a_wrong_gguf_is_invalid(file: Path, what: str) -> None:
    """No number of the file decides how long we read it, or how much of it we hold."""
    file.write_bytes(GGUFS[what])
    with pytest.raises(Invalid):
        check_gguf(file)


def test_250_mutated_ggufs_are_refused_or_read_as_the_official_reader_does(file: Path) -> None:
    """125 with the data behind the header, 125 bare headers. Never another error than ours."""
    rng, accepted = random.Random("gguf"), 0
    content = small_gguf()
    for number in range(250):
        harmed = mutated(rng, content if number % 2 else content[:-512])
        file.write_bytes(harmed)
        try:
            found = check_gguf(file)
        except Invalid:
            continue
        accepted += 1
        assert gguf_told(file) == [(one.name, one.dtype, one.shape, one.begin, one.end) for one in found]
    assert 0 < accepted < 125


@pytest.mark.parametrize("check", [check_safetensors, check_gguf])
def test_what_is_no_regular_file_is_invalid(check: object, tmp_path: Path) -> None:
    """A folder, a link, nothing."""
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path, tmp_path / "link", tmp_path / "nothing"):
        with pytest.raises(Invalid):
            check(path)  # type: ignore[operator]
