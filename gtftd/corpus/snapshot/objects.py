"""Contents and texts of snapshots: hard links to what the corpus stored, made before anything is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from gtftd.corpus.snapshot.folder import CONTENT_SUFFIX, TEXT_SUFFIX
from gtftd.errors import Missing
from gtftd.schemas.corpus import Entry
from gtftd.state.files import content_path, fsync_folder, read_content, write_content


class Objects:
    """The folder `snapshots/objects`. What stands in it is never written again."""

    def __init__(self, folder: Path, entries: Path) -> None:
        """`entries`: where the corpus keeps `objects/` and `texts/`."""
        self.folder = folder
        self._contents = entries / "objects"
        self._texts = entries / "texts"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._there = {file.name for shard in os.scandir(folder) if shard.is_dir() for file in os.scandir(shard)}
        self._texts_there: set[str] = set()
        self.linked: set[str] = set()
        """Names of what this builder added."""

    def link_content(self, sha256: str) -> bool:
        """False when the corpus has replaced or withdrawn that content meanwhile."""
        return self._link(self._contents, sha256, CONTENT_SUFFIX)

    def link_text(self, sha256: str) -> bool:
        if sha256 not in self._texts_there and self._link(self._texts, sha256, TEXT_SUFFIX):
            self._texts_there.add(sha256)  # every entry names the same few texts
        return sha256 in self._texts_there

    def sync(self) -> None:
        """After this, what was linked survives a power cut."""
        for shard in sorted({name[:2] for name in self.linked}):
            fsync_folder(self.folder / shard)
        fsync_folder(self.folder)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name[:2] / name).unlink(missing_ok=True)
            self._there.discard(name)
            self._texts_there.discard(name.removesuffix(TEXT_SUFFIX))
            self.linked.discard(name)

    def names(self) -> frozenset[str]:
        return frozenset(self._there)

    def _link(self, source: Path, sha256: str, suffix: str) -> bool:
        name = f"{sha256}{suffix}"
        if name in self._there:
            return True
        target = content_path(self.folder, sha256, suffix=suffix)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        try:
            os.link(content_path(source, sha256, suffix=suffix), target)
        except FileExistsError:
            pass
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
            write_content(self.folder, content_path(source, sha256, suffix=suffix).read_bytes(), suffix=suffix)
        self._there.add(name)
        self.linked.add(name)
        return True


def read_entry(folder: Path, sha256: str) -> Entry:
    """An entry as it was when the snapshot was built. Raises Missing or Corrupt."""
    return Entry.model_validate_json(_read(folder, sha256, CONTENT_SUFFIX))


def read_text(folder: Path, sha256: str) -> str:
    return _read(folder, sha256, TEXT_SUFFIX).decode()


def _read(folder: Path, sha256: str, suffix: str) -> bytes:
    try:
        return read_content(folder, sha256, suffix=suffix)
    except FileNotFoundError as error:
        raise Missing(
            f"{sha256}{suffix} is not among the contents of snapshots: it was purged, or the folder damaged"
        ) from error
