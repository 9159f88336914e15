"""Taking a base away: its name in a town, and its bytes, which towns share."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path

from gtftd.errors import Busy
from gtftd.state.files import fsync_folder
from gtftd.training.bases import BaseStore

ASIDE = ".adding-"
"""Whoever adds a base next deletes what begins so."""


def remove_base(store: BaseStore, name: str, *, with_bytes: bool) -> None:
    """Killed in here, the name is gone and the bytes are there, or aside for the next to delete.

    Raises Missing for an unknown name, Busy while somebody adds a base.
    """
    digest = store.forget(name)
    if with_bytes and all(base.digest != digest for base in store.listed()):
        _delete(store.folder, digest)


def _delete(cache: Path, digest: str) -> None:
    if not (cache / digest).is_dir():
        return
    descriptor = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("a base is being added just now; its name is gone, and its bytes stay in the cache") from None
        aside = cache / f"{ASIDE}{secrets.token_hex(8)}"
        (cache / digest).chmod(0o700)
        (cache / digest).rename(aside)
        fsync_folder(cache)
        shutil.rmtree(aside)
    finally:
        os.close(descriptor)
