"""Adds a base model in a process of its own: `python -P -m gtftd.programs.base NAME CACHE` with a source as JSON on
its standard input. Prints its digest as JSON, or what was wrong; exit 0 or 1. It loads torch only for a GGUF.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from gtftd.errors import GtftdError, Invalid, NoSpace
from gtftd.registry.allowed import check_file, kind_of
from gtftd.registry.tensors import TensorInfo, count_elements
from gtftd.registry.tensors_gguf import check_gguf
from gtftd.registry.tensors_safetensors import check_safetensors
from gtftd.state.crash import crash_point
from gtftd.state.files import fsync_folder, has_room, is_full, write_atomic
from gtftd.training.base_config import read_config, read_shape
from gtftd.training.base_files import chosen_of, seal, take, weights_of
from gtftd.training.bases import MANIFEST, BaseManifest, BaseSource, digest_of, problems_of, try_read_base

ADDING = ".adding-"
_NICE = 10
_LICENCE = re.compile(r"^license:\s*['\"]?([A-Za-z0-9][A-Za-z0-9._-]{0,60})", re.MULTILINE)


def main(arguments: list[str] | None = None) -> int:
    """The exit code; see above."""
    options = _parse(arguments)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    told = sys.stdout
    sys.stdout = sys.stderr  # libraries may print; the answer stands alone
    try:
        source = BaseSource.model_validate_json(sys.stdin.read())
        digest = add_base(options.name, source, options.cache, any_family=options.any_family)
    except GtftdError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=told)
        return 1
    print(json.dumps({"digest": digest}), file=told)
    return 0


def add_base(name: str, source: BaseSource, cache: Path, *, any_family: bool = False) -> str:
    """Its digest. Whole or not there; adding the same twice is harmless."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    _tidy(cache)
    aside = cache / f"{ADDING}{secrets.token_hex(8)}"
    with _locked(cache, fcntl.LOCK_SH):
        try:
            aside.mkdir(mode=0o700)
            licence = _bring(source, aside, cache)
            crash_point("base.brought")
            manifest = _judge(name, source, aside, licence, any_family=any_family)
            _seal(aside, manifest)
            _put(aside, cache, manifest.digest)
        except OSError as error:
            if is_full(error):
                raise _no_space(cache) from error
            raise Invalid(f"{source.path} cannot be added: {error}") from error
        finally:
            _delete(aside)
    return manifest.digest


def _bring(source: BaseSource, aside: Path, cache: Path) -> str | None:
    """Every file of it, into the folder aside; returns the licence that it states."""
    path = Path(source.path).resolve()
    if source.kind == "gguf":
        tensors = check_gguf(path)
        sizes = (max(2 * count_elements(one.shape, one.name), one.end - one.begin) for one in tensors)
        _check_room(cache, sum(sizes))  # float32 stays so
        from gtftd.training.dequantise import dequantise

        return dequantise(path, aside)
    names = chosen_of(path)
    _check_room(cache, sum((path / name).stat().st_size for name in names))
    for name in names:
        take(path / name, aside / name)
    return _licence_of(aside / "README.md")


def _judge(name: str, source: BaseSource, aside: Path, licence: str | None, *, any_family: bool) -> BaseManifest:
    """Look at all that lies in the folder before anything believes it. Raises Invalid or Refused."""
    for path in sorted(aside.iterdir()):
        check_file(path, kind_of(path.name))
    read_config(aside)
    shape = read_shape(aside, _tensors_of(aside), any_family=any_family)
    from gtftd.training.base_tokenizer import check_tokenizer

    tokenizer = check_tokenizer(aside, shape.vocabulary)
    files = tuple(seal(path) for path in sorted(aside.iterdir()))
    return BaseManifest(
        **dict(shape), name=name, digest=digest_of(files), tokenizer=tokenizer, source=source, licence=licence,
        added_at=datetime.now(UTC), files=files,
    )  # fmt: skip


def _tensors_of(aside: Path) -> Mapping[str, TensorInfo]:
    found: dict[str, TensorInfo] = {}
    for name in weights_of(aside):
        if name.endswith(".safetensors"):
            for tensor in check_safetensors(aside / name):
                if found.setdefault(tensor.name, tensor) is not tensor:
                    raise Invalid(f"the tensor {tensor.name[:80]!r} stands in two files")
    return found


def _seal(aside: Path, manifest: BaseManifest) -> None:
    crash_point("base.copied")
    write_atomic(aside / MANIFEST, manifest.model_dump_json(indent=1).encode() + b"\n", mode=0o444)
    aside.chmod(0o555)
    fsync_folder(aside)
    crash_point("base.sealed")


def _put(aside: Path, cache: Path, digest: str) -> None:
    """What is there and well stays; what is not, is replaced."""
    if os.path.lexists(cache / digest):  # looked at first: what another adder brings from now on is well
        there = try_read_base(cache, digest)
        if there is not None and not any(problems_of(there)):
            return
        (cache / digest).rename(gone := cache / f"{ADDING}{secrets.token_hex(8)}")
        _delete(gone)
    try:
        aside.rename(cache / digest)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # those: somebody added the same in this moment
            raise
    fsync_folder(cache)


def _licence_of(readme: Path) -> str | None:
    if not readme.is_file():
        return None
    with readme.open(encoding="utf-8", errors="replace") as file:
        start = file.read(4096)
    found = _LICENCE.search(start) if start.startswith("---") else None
    return found[1] if found else None


def _check_room(cache: Path, size_bytes: int) -> None:
    if not has_room(cache, size_bytes):
        raise _no_space(cache, size_bytes)


def _no_space(cache: Path, size_bytes: int | None = None) -> NoSpace:
    wanted = f" for {size_bytes / 1e6:.0f} MB" if size_bytes else ""
    return NoSpace(f"no space{wanted} in {cache}; free some disk, or set XDG_CACHE_HOME to another one")


def _tidy(cache: Path) -> None:
    """Delete what a kill left, unless somebody adds just now."""
    with _locked(cache, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_ours:
        if is_ours:
            for aside in cache.glob(f"{ADDING}*"):
                _delete(aside)


@contextlib.contextmanager
def _locked(cache: Path, how: int) -> Iterator[bool]:
    descriptor = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _delete(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gtftd.programs.base")
    parser.add_argument("name")
    parser.add_argument("cache", type=Path)
    parser.add_argument("--any-family", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
