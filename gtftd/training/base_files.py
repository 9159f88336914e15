"""The files of a base: which of a directory are taken, and how they come into the cache. No pickle ever does."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.training.bases import BaseFile, sum_of

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
NEEDED = ("config.json", "tokenizer.json")
TAKEN = (
    *NEEDED, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "vocab.json", "merges.txt", "tokenizer.model", "README.md",
)  # fmt: skip
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}\.safetensors", re.ASCII)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_NOT_LINKED = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES)
_BUFFER_BYTES = 1 << 20
MAX_INDEX_BYTES = 64_000_000


def chosen_of(folder: Path) -> list[str]:
    """The names that make the base, sorted. Raises Invalid with what is missing and what to do."""
    if not (folder / "config.json").is_file():
        raise Invalid(f"{folder} has no config.json; name a directory as transformers' save_pretrained writes it")
    if not (folder / "tokenizer.json").is_file():
        raise Invalid(
            f"{folder} has no tokenizer.json; only fast tokenizers are used: "
            "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) writes one where it can"
        )
    return sorted([name for name in TAKEN if (folder / name).is_file()] + weights_of(folder))


def weights_of(folder: Path) -> list[str]:
    """The index and its shards, or the one file. What else lies there is another copy of the same, mostly."""
    if (folder / INDEX).is_file():
        return [INDEX, *shards_of(folder / INDEX)]
    if (folder / WHOLE).is_file():
        return [WHOLE]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise Invalid(
            f"{folder} has its weights as pickles ({pickles[0]}), which run programs when they are read; "
            "take a copy with model.safetensors"
        )
    raise Invalid(f"{folder} has neither {WHOLE} nor {INDEX}")


def shards_of(index: Path) -> list[str]:
    """The files that an index names, all of them there. Raises Invalid."""
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise Invalid(f"{index.name} has more than {MAX_INDEX_BYTES} bytes")
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise Invalid(f"{index.name} is no index of shards") from error
    for shard in shards:
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard) or not (index.parent / shard).is_file():
            raise Invalid(f"{index.name} names {str(shard)[:80]!r}, which is no safetensors file beside it")
    return sorted(shards)


def take(source: Path, target: Path) -> None:
    """Copy a file, or link it when nobody may write it: a link to what somebody edits later would change with it."""
    origin = source.resolve(strict=True)
    if not origin.stat().st_mode & 0o222:
        try:
            os.link(origin, target)
            return
        except OSError as error:
            if error.errno not in _NOT_LINKED:
                raise
    copy(origin, target)


def copy(source: Path, target: Path) -> None:
    """On the disk, when it returns."""
    with source.open("rb") as file, target.open("xb") as copied:
        shutil.copyfileobj(file, copied, _BUFFER_BYTES)
        copied.flush()
        os.fsync(copied.fileno())


def seal(path: Path) -> BaseFile:
    """On the disk, read-only, with its sum. What is read-only already may be linked, and stays as it is."""
    if path.stat().st_mode & 0o222:
        path.chmod(0o444)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return BaseFile(name=path.name, sha256=sum_of(path), size_bytes=path.stat().st_size)


def joint_sum(*parts: bytes) -> str:
    """The sha256 over the sums of several contents, so that none runs into the next."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
