"""The base models: plain directories in a cache that towns share, named by their content; a town gives them names.

A base exists when its folder `<cache>/bases/<digest>/` does: it was written aside, `base.json` last, and renamed.
A name exists when `<state_dir>/bases/<name>.json` does. A child does the adding, so that nothing here loads a model.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from gtftd.errors import Conflict, Corrupt, Invalid, Missing
from gtftd.schemas.event import Frozen, Moment
from gtftd.schemas.registry import Digest
from gtftd.state.files import fsync_folder, write_atomic

MANIFEST = "base.json"
DEFAULT = "smollm2-135m-instruct"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""As transformers names them; SmolLM2 is a llama."""
MOST_PROBLEMS = 50
MOST_MANIFEST_BYTES = 4_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BUFFER_BYTES = 1 << 20
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,127}$")]


class BaseFile(Frozen):
    """One file of a base, directly in its folder."""

    name: FileName
    sha256: Digest
    size_bytes: int = Field(ge=0)


class BaseSource(Frozen):
    """Where a base came from."""

    path: str
    kind: Literal["folder", "gguf"]
    package: str | None = None
    """Name and version of the Python package that it lay in."""
    sha256: Digest | None = None
    """Of a GGUF."""
    converter: int | None = None
    """Which version of our dequantiser read it."""


class Tokenizer(Frozen):
    """What training and serving must know of a base's tokenizer."""

    sha256: Digest
    """Over tokenizer.json, the chat template and the special tokens."""
    highest_id: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    end_of_turn_id: int
    """What the chat template writes behind the words of an assistant."""
    end_of_turn: str
    roles: tuple[str, ...]
    """Of messages that the chat template takes, besides user and assistant."""


class BaseShape(Frozen):
    """The architecture, as `config.json` and the headers of the weights agree on it."""

    family: str
    parameters: int
    """Each counted once, when the embedding is the head too."""
    layers: int
    hidden_size: int
    middle_size: int
    heads: int
    key_heads: int
    head_size: int
    vocabulary: int
    """Rows of the embedding; a tokenizer may have fewer ids."""
    context: int
    dtype: Literal["float32", "float16", "bfloat16"]
    """Of the weights in the file."""
    tied: bool


class BaseManifest(BaseShape):
    """`base.json`."""

    name: str
    """Under which it was added first; every town has its own names."""
    digest: Digest
    """Over the names and sums of its files."""
    tokenizer: Tokenizer
    source: BaseSource
    licence: str | None = None
    added_at: Moment
    files: tuple[BaseFile, ...] = Field(min_length=1)

    @property
    def tokenizer_sha256(self) -> str:
        return self.tokenizer.sha256

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


class Base(BaseManifest):
    """One base model, as it lies in the cache."""

    folder: Path
    """As transformers loads it; read-only."""


class Named(Frozen):
    """What a town remembers under a name."""

    digest: Digest
    source: str
    """As `base add --from` would need it; empty for a base that comes with a package."""


Make = Callable[[str, BaseSource, Path], str]
"""Puts a base of that name from that source into that cache: its digest."""


class BaseStore:
    """Adders and readers in any number of processes and towns."""

    def __init__(self, state_dir: Path, cache: Path | None = None) -> None:
        self._names = state_dir / "bases"
        self.folder = cache or cache_folder()

    def add(self, name: str, source: BaseSource, make: Make, *, replace: bool = False) -> Base:
        """The base of that source under that name; a GGUF that was converted before is not converted again.

        Raises Conflict when the name is another base's, and what `make` raises.
        """
        check_name(name)
        digest = self._converted(source) or make(name, source, self.folder)
        known = self._named(name)
        if known is not None and known.digest != digest and not replace:
            raise Conflict(
                f"{name!r} is another base here ({known.digest[:12]}), and this one is {digest[:12]}; runs know a base "
                "by its digest, so choose another name, or say --replace"
            )
        base = read_base(self.folder, digest, name)
        self._names.mkdir(parents=True, exist_ok=True, mode=0o700)
        named = Named(digest=digest, source="" if source.package else source.path)
        write_atomic(self._path(name), named.model_dump_json().encode() + b"\n")
        fsync_folder(self._names.parent)
        return base

    def get(self, name: str) -> Base:
        """Raises Missing with what to do; Corrupt when the cache holds something else. Sums are not looked at."""
        named = self.named(name)
        if not (self.folder / named.digest).is_dir():
            again = f"gtftctl base add {name}" + (f" --from {named.source}" if named.source else "")
            raise Missing(f"the base {name!r} is no longer in the cache {self.folder}; `{again}` brings it back")
        return read_base(self.folder, named.digest, name)

    def forget(self, name: str) -> str:
        """Take the name away; the bytes stay. The digest that it had. Raises Missing for an unknown name."""
        digest = self.named(name).digest
        self._path(name).unlink(missing_ok=True)
        fsync_folder(self._names)
        return digest

    def named(self, name: str) -> Named:
        """What the name means, whether the bytes are still there or not. Raises Missing."""
        check_name(name)
        named = self._named(name)
        if named is None:
            known = ", ".join(self.names()) or "none"
            raise Missing(f"there is no base {name!r} here; known: {known}; `gtftctl base add {name}` adds one")
        return named

    def names(self) -> list[str]:
        if not self._names.is_dir():
            return []
        return sorted(path.stem for path in self._names.glob("*.json") if _NAME.fullmatch(path.stem))

    def listed(self) -> list[Base]:
        """Every base that can be used, by name; the others, only `verify` tells of."""
        found = []
        for name in self.names():
            try:
                found.append(self.get(name))
            except (Missing, Corrupt):
                continue
        return found

    def verify(self, name: str) -> tuple[str, ...]:
        """Every problem as a sentence, 50 at most; none when it is well. Raises Missing for an unknown name."""
        try:
            base = self.get(name)
        except (Missing, Corrupt) as error:
            if name not in self.names():
                raise
            return (str(error),)
        return tuple(islice(problems_of(base), MOST_PROBLEMS))

    def _named(self, name: str) -> Named | None:
        try:
            return Named.model_validate_json(self._path(name).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise Corrupt(f"{self._path(name)} is no record of a base; delete it and add the base again") from error

    def _path(self, name: str) -> Path:
        return self._names / f"{name}.json"

    def _converted(self, source: BaseSource) -> str | None:
        """The digest of a base that was made of the same GGUF by the same converter, and is well."""
        if source.kind != "gguf" or not self.folder.is_dir():
            return None
        for path in sorted(self.folder.iterdir()):
            base = try_read_base(self.folder, path.name)
            if base and (base.source.sha256, base.source.converter) == (source.sha256, source.converter):
                return base.digest if not any(problems_of(base)) else None
        return None


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/gtftd/bases`: one for all towns of a user."""
    home = environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "gtftd" / "bases"


def check_name(name: str) -> None:
    """Raises Invalid."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no name for a base: small letters, digits and ._- are, 64 at most")


def read_base(cache: Path, digest: str, name: str | None = None) -> Base:
    """What `base.json` says, under that name. Raises Corrupt when it says nothing, or speaks of something else."""
    folder = cache / digest
    try:
        content = _read_own(folder / MANIFEST)
        told = BaseManifest.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise Corrupt(f"{folder} holds no readable {MANIFEST}; delete that folder and add the base again") from error
    if digest != told.digest or digest_of(told.files) != digest:
        raise Corrupt(f"{folder} tells of other files than its name says; delete it and add the base again")
    return Base(**{**dict(told), "name": name or told.name, "folder": folder})


def try_read_base(cache: Path, digest: str) -> Base | None:
    if not _DIGEST.fullmatch(digest):
        return None
    try:
        return read_base(cache, digest)
    except Corrupt:
        return None


def digest_of(files: tuple[BaseFile, ...]) -> str:
    """sha256 over a line for each file, by name."""
    lines = sorted(f"{file.name}\0{file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def problems_of(base: Base) -> Iterator[str]:
    """What is in the folder against what is to be there, sums and all."""
    there = {entry.name for entry in base.folder.iterdir()}
    for name in sorted(there - {file.name for file in base.files} - {MANIFEST}):
        yield f"{name!r} does not belong to it"
    for file in base.files:
        path = base.folder / file.name
        if file.name not in there:
            yield f"{file.name!r} is missing"
        elif path.is_symlink() or not path.is_file():
            yield f"{file.name!r} is no regular file"
        elif (size_bytes := path.stat().st_size) != file.size_bytes:
            yield f"{file.name!r} has {size_bytes} bytes instead of {file.size_bytes}"
        elif sum_of(path) != file.sha256:
            yield f"{file.name!r} was altered: its sum is another"


def sum_of(path: Path) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BUFFER_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_own(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MOST_MANIFEST_BYTES)
