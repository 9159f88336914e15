"""The manifest of an artifact: what it holds. Its sha256 is the artifact's name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gtftd.errors import Invalid
from gtftd.registry.allowed import TENSOR_FORMATS, Format, kind_of
from gtftd.registry.bounded_json import JSON, parse_json

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
VERSION = 1
MAX_MANIFEST_BYTES = 16_000_000
MAX_FILES = 10_000
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ArtifactFile:
    """`name` is relative to the artifact, with slashes."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """No moment and no signer: the same content has the same manifest."""

    format: Format
    files: tuple[ArtifactFile, ...]
    about: Mapping[str, JSON]

    def encode(self) -> bytes:
        """The one spelling of it. Raises Invalid when `about` cannot be said in JSON."""
        told = {
            "version": VERSION, "format": self.format, "about": self.about,
            "files": [{"name": one.name, "sha256": one.sha256, "size_bytes": one.size_bytes} for one in self.files],
        }  # fmt: skip
        try:
            text = json.dumps(told, sort_keys=True, allow_nan=False, ensure_ascii=True, indent=1)
        except (TypeError, ValueError, RecursionError) as error:
            raise Invalid(f"what is told about the artifact cannot be said in JSON: {error}") from error
        return text.encode() + b"\n"


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parse_manifest(content: bytes) -> Manifest:
    """Raises Invalid for everything that `encode` would not have written."""
    told = parse_json(content, MANIFEST)
    if not isinstance(told, dict) or told.get("version") != VERSION:
        raise Invalid(f"{MANIFEST} is not of version {VERSION}, which is all that this gtftd reads")
    about, files = told.get("about"), told.get("files")
    if not isinstance(about, dict) or not isinstance(files, list) or len(files) > MAX_FILES:
        raise Invalid(f"{MANIFEST} tells nothing about the artifact, or names more than {MAX_FILES} files")
    named = tuple(_file(one) for one in files)
    manifest = Manifest(format_of(one.name for one in named), named, about)
    if manifest.encode() != content:
        raise Invalid(f"{MANIFEST} is not spelled as it would be written")
    return manifest


def _file(told: JSON) -> ArtifactFile:
    match told:
        case {"name": str(name), "sha256": str(sha256), "size_bytes": int(size)} if DIGEST.fullmatch(sha256):
            kind_of(name)
            return ArtifactFile(name, sha256, size)
    raise Invalid(f"{MANIFEST} names a file without its sum and size")


def format_of(names: Iterable[str]) -> Format:
    """Raises Invalid when there is no tensor file, or files of two formats."""
    kinds = {kind_of(name) for name in names}
    formats: list[Format] = [one for one in TENSOR_FORMATS if one in kinds]
    if not formats:
        raise Invalid("there is no tensor file: a model is at least one *.safetensors or *.gguf")
    if len(formats) > 1:
        raise Invalid("there are files of safetensors and of GGUF; an artifact has one format")
    return formats[0]
