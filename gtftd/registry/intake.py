"""What somebody wants stored: listed, judged by its names, and copied with its sums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from gtftd.errors import Invalid, Missing
from gtftd.registry.allowed import MAX_FOLDERS, check_offered, kind_of
from gtftd.registry.manifest import MAX_FILES, ArtifactFile, format_of
from gtftd.registry.regular import BUFFER_BYTES, open_regular, size_of


def files_of(source: Path) -> Mapping[str, Path]:
    """Relative name -> path, sorted. Raises Missing, or Invalid for the first thing that may not be stored."""
    found: dict[str, Path] = {}
    for name, path in sorted(_walk(source)):
        check_offered(path, kind_of(name))
        found[name] = path
    if len(found) > MAX_FILES:
        raise Invalid(f"{source} holds {len(found)} files; at most {MAX_FILES} are stored")
    format_of(found)
    return found


def copy_file(source: Path, name: str, target: Path) -> ArtifactFile:
    """Copied, summed, on the disk and read-only. Raises Invalid when it changed meanwhile."""
    digest, size_bytes = hashlib.sha256(), 0
    with open_regular(source) as file, target.open("xb") as copy:
        expected = size_of(file)
        while size_bytes <= expected and (block := file.read(BUFFER_BYTES)):
            digest.update(block)
            copy.write(block)
            size_bytes += len(block)
        if size_bytes != expected:
            raise Invalid(f"{name!r} changed while it was copied; add it again when nobody writes it")
        copy.flush()
        os.fchmod(copy.fileno(), 0o444)
        os.fsync(copy.fileno())
    return ArtifactFile(name, digest.hexdigest(), size_bytes)


def walk_folder(folder: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Path]]:
    """Everything in it but folders, down to one level below what is allowed; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_dir(follow_symlinks=False):
                yield prefix + entry.name, path
            elif depth < MAX_FOLDERS:
                yield from walk_folder(path, f"{prefix}{entry.name}/", depth + 1)
            else:
                raise Invalid(f"{prefix + entry.name!r} lies deeper than {MAX_FOLDERS} folders")


def _walk(source: Path) -> Iterator[tuple[str, Path]]:
    if not os.path.lexists(source):
        raise Missing(f"{source} does not exist")
    if source.is_symlink():
        raise Invalid(f"{source} is a link; name what it points to")
    try:
        yield from walk_folder(source) if source.is_dir() else [(source.name, source)]
    except OSError as error:
        raise Invalid(f"{source} cannot be read: {error.strerror}") from error
