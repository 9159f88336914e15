"""Which files an artifact may hold: by their names, by their first bytes, and by what they say of themselves."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from gtftd.errors import Invalid
from gtftd.registry.bounded_json import parse_json
from gtftd.registry.regular import open_regular, read_bounded, size_of
from gtftd.registry.tensors import TensorInfo
from gtftd.registry.tensors_gguf import check_gguf
from gtftd.registry.tensors_safetensors import check_safetensors

Format: TypeAlias = Literal["safetensors", "gguf"]
Kind: TypeAlias = Literal["safetensors", "gguf", "json", "json lines", "text", "opaque"]
KINDS: dict[str, Kind] = {
    ".safetensors": "safetensors", ".gguf": "gguf", ".json": "json", ".jsonl": "json lines",
    ".txt": "text", ".md": "text", ".jinja": "text", ".model": "opaque",
}  # fmt: skip
TENSOR_FORMATS: tuple[Format, ...] = ("safetensors", "gguf")
RESERVED = ("manifest.json", "manifest.sig")
MAX_SMALL_BYTES = 64_000_000
MAX_LINES = 1_000_000
MAX_FOLDERS = 2
MAX_NAME = 255
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,127}", re.ASCII)
_FORBIDDEN_STARTS = {
    b"PK\x03\x04": "a zip archive, as torch writes it", b"PK\x05\x06": "a zip archive", b"\x7fELF": "a program",
    b"\x93NUMPY": "an array of numpy", b"\x1f\x8b\x08": "a gzip archive",
}  # fmt: skip
_HEADER_FOLLOWS = b"\0\0\0\0{"
"""Bytes 4 to 8 of every safetensors file whose header has less than 4 GB."""


def kind_of(name: str) -> Kind:
    """Raises Invalid for names and endings that no artifact may hold; `name` is relative, with slashes."""
    parts = name.split("/")
    if len(parts) > MAX_FOLDERS + 1:
        raise Invalid(f"{name[:MAX_NAME]!r} lies deeper than {MAX_FOLDERS} folders")
    if len(name) > MAX_NAME or not all(_PART.fullmatch(part) for part in parts):
        raise Invalid(f"{name[:MAX_NAME]!r} is no name for a file here: letters, digits and ._+=@- are, 128 at most")
    if name in RESERVED:
        raise Invalid(f"{name!r} is the store's own name; remove it from the source")
    kind = KINDS.get(PurePosixPath(name).suffix)
    if kind is None:
        raise Invalid(f"{name!r} may not be stored; allowed are {', '.join(f'*{ending}' for ending in KINDS)}")
    return kind


def check_start(path: Path, kind: Kind) -> None:
    """Raises Invalid when the first bytes are those of a pickle, an archive or a program, whatever the name says.

    The length that a safetensors file begins with may be such bytes too; what it has next, neither of them has.
    """
    with open_regular(path) as file:
        start = file.read(9)
    if kind == "safetensors" and start[4:] == _HEADER_FOLLOWS:
        return
    if len(start) > 1 and start[0] == 0x80 and start[1] <= 5:
        raise Invalid(f"{path.name} is a pickle, which runs programs when it is read; convert it to safetensors")
    for forbidden, what in _FORBIDDEN_STARTS.items():
        if start.startswith(forbidden):
            raise Invalid(f"{path.name} is {what}; only safetensors and GGUF are stored")


def check_offered(path: Path, kind: Kind) -> None:
    """What is cheap to see before the file is copied. Raises Invalid."""
    check_start(path, kind)
    if kind in TENSOR_FORMATS:
        read_tensors(path, kind)
        return
    with open_regular(path) as file:
        if size_of(file) > MAX_SMALL_BYTES:
            raise Invalid(f"{path.name} has {size_of(file)} bytes; beside tensors, {MAX_SMALL_BYTES} are allowed")


def check_file(path: Path, kind: Kind) -> None:
    """Everything that the file says of itself, the data of tensors excepted. Raises Invalid."""
    check_start(path, kind)
    if kind in TENSOR_FORMATS:
        read_tensors(path, kind)
        return
    content = read_bounded(path, MAX_SMALL_BYTES)
    if kind == "json":
        parse_json(content, path.name)
    elif kind == "json lines":
        _check_lines(content, path.name)
    elif kind == "text":
        _check_text(content, path.name)


def read_tensors(path: Path, kind: Kind) -> tuple[TensorInfo, ...]:
    return check_gguf(path) if kind == "gguf" else check_safetensors(path)


def _check_lines(content: bytes, name: str) -> None:
    if content.count(b"\n") > MAX_LINES:
        raise Invalid(f"{name} has more than {MAX_LINES} lines")
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            parse_json(line, f"line {number} of {name}")


def _check_text(content: bytes, name: str) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is no text in UTF-8") from error
    if b"\0" in content:
        raise Invalid(f"{name} holds a NUL; it is no text")
