"""Tokenised examples on disk: plain arrays, read where they are needed. A cache: it may be deleted at any time.

`tokens.bin` int32, `supervised.bin` bool and `bounds.bin` int64 hold sequences one behind the other; an example is one
(a chat), two (a prompt and a completion) or three (a prompt, chosen, rejected). `weights.bin` float64 and `goods.bin`
bool have one number an example. `kept.json` is written last, and then the folder is renamed: it exists whole or not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import file_digest
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from gtftd.errors import Corrupt, NoSpace
from gtftd.schemas.event import Frozen
from gtftd.state.files import fsync_folder, is_full, write_atomic
from gtftd.training.batches import Flags, Tokens
from gtftd.training.report import DataReport

MANIFEST = "kept.json"
BUILDING = ".building-"
_TYPES = {
    "tokens": np.dtype("<i4"), "supervised": np.dtype(np.bool_), "bounds": np.dtype("<i8"),
    "weights": np.dtype("<f8"), "goods": np.dtype(np.bool_),
}  # fmt: skip


class Kept(Frozen):
    """`kept.json`."""

    format: Literal[1] = 1
    key: str
    parts: int
    """Sequences an example."""
    sums: dict[str, str]
    report: DataReport


class Writer:
    """Collects examples beside their place; nothing is there before `commit`."""

    def __init__(self, folder: Path, key: str, parts: int) -> None:
        self._folder = folder
        self._aside = folder.with_name(f"{BUILDING}{folder.name}")
        self._key = key
        self._parts = parts
        self._files: dict[str, BinaryIO] = {}
        self._end = 0

    def __enter__(self) -> Self:
        """Raises NoSpace."""
        shutil.rmtree(self._aside, ignore_errors=True)
        try:
            with _no_space(self._aside):
                self._aside.mkdir(parents=True, mode=0o700)
                for name in _TYPES:
                    self._files[name] = (self._aside / f"{name}.bin").open("wb")
            self._write("bounds", np.zeros(1, np.int64))
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._discard()

    def _discard(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # a full disk again: it has been told
                file.close()
        shutil.rmtree(self._aside, ignore_errors=True)

    def add(self, sequences: Sequence[tuple[Tokens, Flags]], weight: float = 1.0, good: bool = True) -> None:
        """One example. Raises NoSpace."""
        for tokens, supervised in sequences:
            self._end += len(tokens)
            self._write("tokens", tokens)
            self._write("supervised", supervised)
            self._write("bounds", np.array([self._end]))
        self._write("weights", np.array([weight]))
        self._write("goods", np.array([good]))

    def commit(self, report: DataReport) -> None:
        """After this the folder is there, and survives a power cut."""
        with _no_space(self._aside):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
                file.close()
            sums = {name: _sum(self._aside / f"{name}.bin") for name in _TYPES}
            kept = Kept(key=self._key, parts=self._parts, sums=sums, report=report)
            write_atomic(self._aside / MANIFEST, kept.model_dump_json().encode())
            shutil.rmtree(self._folder, ignore_errors=True)
            self._aside.rename(self._folder)
            fsync_folder(self._folder.parent)

    def _write(self, name: str, values: NDArray[np.generic]) -> None:
        with _no_space(self._aside):
            self._files[name].write(np.ascontiguousarray(values, _TYPES[name]).tobytes())


class Reader:
    """What a Writer committed; tokens stay on disk."""

    def __init__(self, folder: Path, kept: Kept) -> None:
        self.report = kept.report
        self._parts = kept.parts
        self._folder = folder
        self._bounds: NDArray[np.int64] = _read(folder, "bounds")
        self._weights = _read(folder, "weights")
        self._goods = _read(folder, "goods")

    @classmethod
    def open(cls, folder: Path, key: str) -> Self | None:
        """None when it is not there, of something else, or not what was written: then it is to be made again."""
        try:
            kept = Kept.model_validate_json((folder / MANIFEST).read_bytes())
            if kept.key != key or any(_sum(folder / f"{name}.bin") != kept.sums.get(name) for name in _TYPES):
                return None
        except (OSError, ValidationError):
            return None
        return cls(folder, kept)

    def __len__(self) -> int:
        return len(self._weights)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example, all its sequences together."""
        found: NDArray[np.int64] = np.diff(self._bounds[:: self._parts])
        return found

    def sequences(self, example: int) -> list[tuple[Tokens, Flags]]:
        """Raises Corrupt when the files changed since they were opened."""
        first = example * self._parts
        bounds = self._bounds[first : first + self._parts + 1]
        return [
            (_read(self._folder, "tokens", start, stop), _read(self._folder, "supervised", start, stop))
            for start, stop in pairwise(bounds)
        ]

    def weight(self, example: int) -> float:
        return float(self._weights[example])

    def good(self, example: int) -> bool:
        return bool(self._goods[example])


def _read(folder: Path, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    """Read, not mapped: a mapped file that somebody cuts short ends the process with SIGBUS."""
    path, kind = folder / f"{name}.bin", _TYPES[name]
    try:
        found = np.fromfile(path, kind, -1 if stop is None else int(stop - start), offset=int(start) * kind.itemsize)
    except OSError as error:
        raise Corrupt(f"{path} cannot be read: {error.strerror}; start the run again, it makes it anew") from error
    if stop is not None and len(found) != stop - start:
        raise Corrupt(f"{path} is shorter than it was; start the run again, it makes it anew")
    return found


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _no_space(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise NoSpace(f"no space left to write tokens in {folder}; free some disk") from error
        raise
