"""The store of artifacts: folders named by the sha256 of their manifest, signed, read-only, whole or not there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gtftd.errors import Conflict, Corrupt, GtftdError, Invalid, Missing, NoSpace, Refused
from gtftd.registry.allowed import TENSOR_FORMATS, Format, check_file, kind_of, read_tensors
from gtftd.registry.bounded_json import JSON
from gtftd.registry.intake import copy_file, files_of, walk_folder
from gtftd.registry.manifest import (
    DIGEST,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    ArtifactFile,
    Manifest,
    digest_of,
    format_of,
    parse_manifest,
)
from gtftd.registry.regular import open_regular, read_bounded, size_of
from gtftd.registry.signing import MAX_SIGNATURE_BYTES, Keys
from gtftd.state.crash import crash_point
from gtftd.state.files import fsync_folder, is_full, write_atomic

ADDING, REMOVING = ".adding-", ".removing-"
MOST_PROBLEMS = 50
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@dataclass(frozen=True)
class StoredArtifact:
    """One artifact as it lies on disk. `size_bytes`: of its files, manifest and signature not counted."""

    digest: str
    folder: Path
    format: Format
    size_bytes: int
    signer: str
    files: tuple[ArtifactFile, ...]
    about: Mapping[str, JSON] = field(default_factory=dict, hash=False)


class ArtifactStore:
    """Adders, removers and readers in any number of processes; each artifact is there whole, or not at all."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder = folder
        self._keys = keys

    def add(self, source: Path, about: Mapping[str, JSON] | None = None) -> StoredArtifact:
        """Copy a file or a folder in. The same content and `about` twice is one artifact; one that was altered
        meanwhile is replaced. Raises Missing, Invalid with the file and what is wrong with it, NoSpace.
        """
        found = files_of(source)
        with self._shared():
            aside = self.folder / f"{ADDING}{secrets.token_hex(8)}"
            try:
                digest = self._write_aside(aside, found, about or {})
                with self._putting():
                    self._put(aside, digest)
            except OSError as error:
                if is_full(error):
                    raise NoSpace(f"no space left to store {source} in {self.folder}; free some disk") from error
                raise
            finally:
                _delete(aside)
        return self.open(digest, summed=False)

    def open(self, digest: str, *, summed: bool = True) -> StoredArtifact:
        """The one door for whoever loads: nothing of it was altered, and somebody we trust vouches for it.

        `summed=False` is for listings: signature, names, sizes and headers, but not the data. Never load after it.
        Raises Missing, Refused (not signed, or by a stranger), Corrupt (altered).
        """
        manifest, signer = self._read_manifest(digest)
        folder = self.folder / digest
        for problem in _problems(folder, manifest, summed=summed):
            if not folder.exists():
                raise _missing(digest)
            raise Corrupt(f"artifact {digest[:12]} was altered: {problem}; remove it and add it again")
        size_bytes = sum(file.size_bytes for file in manifest.files)
        return StoredArtifact(digest, folder, manifest.format, size_bytes, signer, manifest.files, manifest.about)

    def verify(self, digest: str) -> tuple[str, ...]:
        """Every problem as a sentence, 50 at most; none when it is well. Raises Missing."""
        try:
            manifest, _ = self._read_manifest(digest)
        except (Refused, Corrupt) as error:
            return (str(error),)
        return tuple(islice(_problems(self.folder / digest, manifest, summed=True), MOST_PROBLEMS))

    def remove(self, digest: str) -> int:
        """Bytes freed; 0 when it was gone already. It is gone for everybody at once, then it is deleted."""
        if not DIGEST.fullmatch(digest) or not os.path.lexists(self.folder / digest):
            return 0
        with self._shared():
            aside = self._set_aside(digest)
            return _delete(aside) if aside else 0

    def tidy(self) -> None:
        """Delete what a kill left. While somebody adds or removes, nothing is done: the next start will."""
        if not self.folder.is_dir():
            return
        with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB) as is_ours:
            if is_ours:
                for aside in [*self.folder.glob(f"{ADDING}*"), *self.folder.glob(f"{REMOVING}*")]:
                    _delete(aside)

    def digests(self) -> list[str]:
        """Of all that is there, sorted; whether it is well, only `open` and `verify` say."""
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            return sorted(entry.name for entry in entries if DIGEST.fullmatch(entry.name))

    def _read_manifest(self, digest: str) -> tuple[Manifest, str]:
        folder = self.folder / digest
        if not DIGEST.fullmatch(digest) or not os.path.lexists(folder):
            raise _missing(digest)
        if folder.is_symlink() or not folder.is_dir():
            raise Corrupt(f"{folder} is no folder; remove it and add the artifact again")
        content = _read_own(folder / MANIFEST, MAX_MANIFEST_BYTES)
        if content is None or digest_of(content) != digest:
            raise Corrupt(f"artifact {digest[:12]} has another manifest than its name says, or none")
        signature = _read_own(folder / SIGNATURE, MAX_SIGNATURE_BYTES)
        if signature is None:
            raise Refused(f"artifact {digest[:12]} is not signed")
        signer = self._keys.check(content, signature.decode("utf-8", "replace"))
        try:
            return parse_manifest(content), signer
        except Invalid as error:
            raise Corrupt(f"artifact {digest[:12]} cannot be read: {error}") from error

    def _write_aside(self, aside: Path, found: Mapping[str, Path], about: Mapping[str, JSON]) -> str:
        """Everything of it, read-only, the manifest and its signature last. Returns its digest."""
        aside.mkdir(mode=0o700)
        files = []
        for name, source in found.items():
            target = aside / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.append(copy_file(source, name, target))
            check_file(target, kind_of(name))
        crash_point("artifact.copied")
        manifest = Manifest(format_of(found), tuple(files), about).encode()
        parse_manifest(manifest)
        for name, content in ((MANIFEST, manifest), (SIGNATURE, self._keys.sign(manifest).encode())):
            write_atomic(aside / name, content)
            (aside / name).chmod(0o444)
        crash_point("artifact.signed")
        for folder in sorted(_folders(aside), reverse=True):
            folder.chmod(0o555)
            fsync_folder(folder)
        return digest_of(manifest)

    def _put(self, aside: Path, digest: str) -> None:
        """Where somebody else put the same before, theirs stays, unless it is not well."""
        for _ in range(10):
            if self._is_well(digest):
                return
            self._discard(digest)
            try:
                aside.rename(self.folder / digest)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            else:
                crash_point("artifact.renamed")
                fsync_folder(self.folder)
                return
        raise Conflict(f"artifact {digest[:12]} is added and altered by others all the time; add it again")

    def _is_well(self, digest: str) -> bool:
        try:
            self.open(digest)
        except GtftdError:
            return False
        return True

    def _discard(self, digest: str) -> None:
        aside = self._set_aside(digest)
        if aside:
            _delete(aside)

    def _set_aside(self, digest: str) -> Path | None:
        aside = self.folder / f"{REMOVING}{digest[:12]}-{secrets.token_hex(8)}"
        try:
            (self.folder / digest).rename(aside)
        except FileNotFoundError:
            return None
        fsync_folder(self.folder)
        crash_point("artifact.set_aside")
        return aside

    @contextlib.contextmanager
    def _putting(self) -> Iterator[None]:
        """One adder at a time looks and puts: what was missing at the look may be there, and well, a moment later."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _shared(self) -> Iterator[None]:
        """While it is held, nobody tidies."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[bool]:
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)


def _problems(folder: Path, manifest: Manifest, *, summed: bool) -> Iterator[str]:
    """One sentence for each file that is not as the manifest says."""
    try:
        found = {name for name, _ in walk_folder(folder)}
        folders = {path.relative_to(folder) for path in _folders(folder)}
    except (OSError, Invalid) as error:
        yield f"it cannot be listed: {error}"
        return
    named = {file.name for file in manifest.files}
    yield from (f"{name!r} was added" for name in sorted(found - named - {MANIFEST, SIGNATURE}))
    expected = {Path(), *(parent for name in named for parent in Path(name).parents)}
    yield from (f"the folder {path.as_posix()!r} was added" for path in sorted(folders - expected))
    for file in manifest.files:
        if file.name not in found:
            yield f"{file.name!r} is gone"
            continue
        try:
            _check(folder / file.name, file, summed=summed)
        except Invalid as error:
            yield str(error)


def _check(path: Path, told: ArtifactFile, *, summed: bool) -> None:
    with open_regular(path) as file:
        if size_of(file) != told.size_bytes:
            raise Invalid(f"{told.name!r} has {size_of(file)} bytes instead of {told.size_bytes}")
        if summed and hashlib.file_digest(file, "sha256").hexdigest() != told.sha256:
            raise Invalid(f"{told.name!r} has not the sum that the manifest says")
    kind = kind_of(told.name)
    if summed:
        check_file(path, kind)
    elif kind in TENSOR_FORMATS:
        read_tensors(path, kind)


def _read_own(path: Path, most_bytes: int) -> bytes | None:
    """None where there is no such file, or not a regular one."""
    try:
        return read_bounded(path, most_bytes)
    except Invalid:
        return None


def _missing(digest: str) -> Missing:
    return Missing(f"there is no artifact {digest[:80]!r}; it was pruned, or never added")


def _folders(folder: Path) -> list[Path]:
    return [Path(path) for path, _, _ in os.walk(folder)]


def _delete(aside: Path) -> int:
    """Bytes that its files had. Folders must be writable for that; a link is removed and not followed."""
    if not os.path.lexists(aside):
        return 0
    if aside.is_symlink() or not aside.is_dir():
        aside.unlink()
        return 0
    size_bytes = 0
    for path, _, names in os.walk(aside):
        Path(path).chmod(0o700)
        size_bytes += sum((Path(path) / name).lstat().st_size for name in names)
    shutil.rmtree(aside)
    fsync_folder(aside.parent)
    return size_bytes
