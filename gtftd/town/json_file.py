"""A JSON file that belongs to somebody else: changed without losing, reordering or reformatting anything."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Busy, Invalid, NoSpace
from gtftd.state.crash import crash_point
from gtftd.state.files import fsync_folder, is_full

JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None
JsonObject = dict[str, JsonValue]

_BOM = b"\xef\xbb\xbf"
_INDENT = re.compile(r"\{\r?\n([ \t]+)")
_DEFAULT_INDENT = "  "


@dataclass(frozen=True)
class JsonFile:
    """`value` may be changed in place; `replace` writes it if the file is still what was read."""

    path: Path
    raw: bytes | None
    """None: there was no file."""
    value: JsonObject

    def replace(self) -> None:
        """Whole or not at all; symlinks followed, mode and owner kept, the formatting like before.

        Raises Busy when somebody changed the file since it was read, NoSpace on a full disk.
        """
        self.put_back(self._encoded())

    def put_back(self, content: bytes) -> None:
        """As `replace`, with these bytes: what the file once was."""
        target = self.path.resolve()
        aside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        try:
            _write(aside, content, like=target)
            crash_point("settings.written")
            self._refuse_changed()
            aside.rename(target)
        except OSError as error:
            if is_full(error):
                raise NoSpace(f"no space left to write {target}; free some disk") from error
            raise
        finally:
            aside.unlink(missing_ok=True)
        fsync_folder(target.parent)

    def remove(self) -> None:
        """Delete the file if it is still what was read."""
        self._refuse_changed()
        self.path.resolve().unlink()
        fsync_folder(self.path.resolve().parent)

    def back_up(self, path: Path) -> None:
        """Keep what was read under `path`, once: an older backup stays."""
        if self.raw is None or path.exists():
            return
        aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        try:
            _write(aside, self.raw, like=self.path.resolve())
            aside.rename(path)
        finally:
            aside.unlink(missing_ok=True)
        fsync_folder(path.parent)

    def _refuse_changed(self) -> None:
        if _read(self.path) != self.raw:
            raise Busy(f"{self.path} was changed by somebody else meanwhile; try again")

    def _encoded(self) -> bytes:
        before = (self.raw or b"").removeprefix(_BOM)
        text = before.decode()
        found = _INDENT.match(text.lstrip())
        one_line = bool(text.strip()) and "\n" not in text.strip() and text.strip() != "{}"
        indent = found.group(1) if found else None if one_line else _DEFAULT_INDENT
        plain = "\\u" in text  # lone surrogates can only be written escaped
        out = json.dumps(self.value, indent=indent, ensure_ascii=plain, allow_nan=False)
        if text.endswith("\n") or not text:
            out += "\n"
        if "\r\n" in text:
            out = out.replace("\n", "\r\n")
        return (_BOM if (self.raw or b"").startswith(_BOM) else b"") + out.encode()


def read_json_file(path: Path) -> JsonFile:
    """A missing file is an empty object. Raises Invalid for what we could not write back faithfully."""
    raw = _read(path)
    if raw is None:
        return JsonFile(path, None, {})
    try:
        value = json.loads(
            raw.removeprefix(_BOM).decode(),
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse_number,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path} is not valid JSON ({error}); it is left as it is, repair it first") from error
    if not isinstance(value, dict):
        raise Invalid(f"{path} holds a JSON {type(value).__name__}, not an object; it is left as it is")
    return JsonFile(path, raw, value)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes, *, like: Path) -> None:
    """A new file with the mode, and as far as we may the owner, of `like`; 0600 where there is none."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        with contextlib.suppress(FileNotFoundError):
            status = like.stat()
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, status.st_mode & 0o7777)
        os.fsync(descriptor)


def _without_repeats(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def _refuse_number(constant: str) -> JsonValue:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number
