"""Crash-safe file primitives: write aside, fsync, rename, fsync the folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gtftd.errors import Corrupt, NoSpace
from gtftd.state.crash import crash_point


def write_atomic(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """`path` holds the old content or the new one, never a part. Raises NoSpace on a full disk."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with _full_disk_is_no_space(path), _removed_on_error(aside):
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        crash_point("file.synced")
        aside.rename(path)
        fsync_folder(path.parent)


def write_content(folder: Path, content: bytes, *, suffix: str = "") -> str:
    """Store by content under `folder/ab/abcdef...suffix`; returns the sha256. Storing twice is harmless."""
    digest = hashlib.sha256(content).hexdigest()
    path = content_path(folder, digest, suffix=suffix)
    if not path.exists():
        with _full_disk_is_no_space(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fsync_folder(folder)
        write_atomic(path, content)
    return digest


def read_content(folder: Path, digest: str, *, suffix: str = "") -> bytes:
    """What `write_content` stored. Raises FileNotFoundError, or Corrupt when it has not the sum that its name says."""
    path = content_path(folder, digest, suffix=suffix)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise Corrupt(f"{path} was changed after it was written")
    return content


def content_path(folder: Path, digest: str, *, suffix: str = "") -> Path:
    return folder / digest[:2] / f"{digest}{suffix}"


def fsync_folder(folder: Path) -> None:
    """Make renames and unlinks in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_asides(folder: Path) -> int:
    """Delete what a killed `write_atomic` left; call it before anything writes. Returns how many."""
    asides = list(folder.rglob(".*.tmp"))
    for aside in asides:
        aside.unlink(missing_ok=True)
    return len(asides)


def has_room(folder: Path, size_bytes: int) -> bool:
    """Whether that much can be written here now: tried, since quotas do not show in the free space."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)
    except OSError as error:
        if is_full(error):
            return False
        raise
    return True


def is_full(error: OSError) -> bool:
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def _full_disk_is_no_space(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise NoSpace(f"no space left to write {path.name} in {path.parent}; free some disk") from error
        raise


@contextlib.contextmanager
def _removed_on_error(aside: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
