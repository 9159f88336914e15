"""Who vouches for an artifact: ed25519 signatures, by the key of this state directory or one that is trusted."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gtftd.errors import Invalid, Refused
from gtftd.registry.bounded_json import parse_json
from gtftd.registry.regular import read_bounded
from gtftd.state.files import remove_asides, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "ed25519"
KEY_FILE = "registry.key"
MAX_SIGNATURE_BYTES = 4096
_PUBLIC = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Keys:
    """One private key, and the public ones that are believed. Public keys are 64 hex digits, and so are key ids."""

    trusted: frozenset[str]
    _secret: bytes = field(repr=False)

    @classmethod
    def open(cls, folder: Path, trusted: Sequence[str] = ()) -> Self:
        """Makes the key at first use. Raises Refused when others can read it, Invalid for a key that is none."""
        for key in trusted:
            if not _PUBLIC.fullmatch(key):
                raise Invalid(f"{key[:80]!r} is no public key; each of registry.trusted_keys has 64 hex digits")
        return cls(frozenset(trusted), _read_or_make(folder))

    @cached_property
    def own_public(self) -> str:
        return self._private.public_key().public_bytes_raw().hex()

    def sign(self, content: bytes) -> str:
        """The text of a signature file."""
        return _spell(self.own_public, self._private.sign(content).hex())

    def check(self, content: bytes, signature_text: str) -> str:
        """Who signed exactly this content. Raises Refused when nobody did whom we trust."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        key, signature = _parse(signature_text)
        if key not in self.trusted and key != self.own_public:
            raise Refused(f"signed by {key}, whom nobody here trusts; registry.trusted_keys says who is")
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), content)
        except (InvalidSignature, ValueError) as error:
            raise Refused(f"the signature of {key} is of something else") from error
        return key

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._secret)


def _parse(signature_text: str) -> tuple[str, str]:
    if len(signature_text) > MAX_SIGNATURE_BYTES:
        raise Refused("the signature file is larger than a signature can be")
    try:
        told = parse_json(signature_text.encode("utf-8", "replace"), "the signature")
    except Invalid as error:
        raise Refused(str(error)) from error
    match told:
        case {"algorithm": "ed25519", "key": str(key), "signature": str(signature), **other} if not other:
            if _PUBLIC.fullmatch(key) and _SIGNATURE.fullmatch(signature) and _spell(key, signature) == signature_text:
                return key, signature
    raise Refused(f"the signature is not one of {ALGORITHM}, spelled as it would be written here")


def _spell(key: str, signature: str) -> str:
    return json.dumps({"algorithm": ALGORITHM, "key": key, "signature": signature}, indent=1) + "\n"


def _read_or_make(folder: Path) -> bytes:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / KEY_FILE
    if not path.exists():
        _make(folder, path)
    return _read(path)


def _make(folder: Path, path: Path) -> None:
    """Once, also when two come at the same moment: what the first signs, the second must trust."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not path.exists():
            remove_asides(folder)
            write_atomic(path, secrets.token_bytes(32).hex().encode() + b"\n", mode=0o600)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path} is no regular file; put the key itself there")
    if found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise Refused(f"{path} can be read or changed by others; make it yours alone (chmod 600), or make a new key")
    text = read_bounded(path, MAX_SIGNATURE_BYTES).decode("ascii", "replace").strip()
    if not _PUBLIC.fullmatch(text):
        raise Refused(f"{path} holds no key (64 hex digits); put it back from a copy, or remove it and sign anew")
    return bytes.fromhex(text)
