"""Files in which programs keep their credentials, and the secret values in them."""

# ruff: noqa: E501  (a table of files)
from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from gtftd.scrub.assignments import is_secret_name
from gtftd.scrub.shapes import is_odd, suspicious

MAX_FILE_BYTES = 1024 * 1024
_MAX_VALUES = 200
OF_HOME = (
    ".git-credentials", ".config/git/credentials", ".netrc", ".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".docker/config.json",
    ".aws/credentials", ".config/gh/hosts.yml", ".config/hub", ".config/gcloud/application_default_credentials.json",
    ".claude/.credentials.json", ".codex/auth.json", ".local/share/opencode/auth.json", ".cargo/credentials.toml",
    ".gem/credentials", ".vault-token", ".terraform.d/credentials.tfrc.json", ".config/pip/pip.conf", ".dolt/config_global.json",
)  # fmt: skip
_USERINFO = re.compile(r"://[^\s:/@]{0,128}:(?P<password>[^\s/@]{1,512})@")
_PAIR = re.compile(r"[\"']?(?P<name>[A-Za-z_/.:][\w./:@-]*)[\"']?\s*(?:[=:]|\s)\s*[\"']?(?P<value>[^\s\"']{8,4096})")
_NETRC = re.compile(r"\bpassword\s+(?P<password>\S+)")


def credentials_of(home: Path, *more: Path) -> Iterator[tuple[str, str]]:
    """Name and value of what the credential files under `home`, and the files `more`, hold. Unreadable ones give none."""
    creds = home / ".dolt" / "creds"
    for path in (*(home / name for name in OF_HOME), *sorted(creds.glob("*.jwk")), *more):
        text = read(path)
        if not text:
            continue
        name = re.sub(r"[^A-Z0-9]+", "_", path.name.upper()).strip("_") or "CREDENTIAL"
        for place, value in enumerate(dict.fromkeys(_values(path, text))):
            if place < _MAX_VALUES:
                yield name, value


def read(path: Path) -> str:
    """The beginning of a file as text; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""


def passwords_in(text: str) -> Iterator[str]:
    """The passwords in the addresses of a text, as they stand and unquoted."""
    for match in _USERINFO.finditer(text):
        yield match["password"]
        if (decoded := unquote(match["password"])) != match["password"]:
            yield decoded


def secrets_in(value: object, name: str = "", depth: int = 0) -> Iterator[str]:
    """The strings of a JSON value that their key or their look calls secret."""
    if depth > 16:
        return
    match value:
        case dict():
            for key, item in value.items():
                yield from secrets_in(item, str(key), depth + 1)
        case list():
            for item in value:
                yield from secrets_in(item, name, depth + 1)
        case str():
            yield from _of_value(name, value)


def _values(path: Path, text: str) -> Iterator[str]:
    yield from passwords_in(text)
    if path.suffix in {".json", ".jwk"}:
        try:
            yield from secrets_in(json.loads(text))
        except (ValueError, RecursionError):
            return
        return
    if path.name == ".vault-token":
        yield text.strip()
    if path.name == ".pgpass":
        yield from (line.rsplit(":", 1)[1] for line in text.splitlines() if line.count(":") >= 4)
    for match in _NETRC.finditer(text):
        yield match["password"]
    for line in text.splitlines():
        found = _PAIR.fullmatch(line.strip(" -\t,"))
        if found is not None:
            yield from _of_value(found["name"], found["value"])


def _of_value(name: str, value: str) -> Iterator[str]:
    yield from passwords_in(value)
    lowered = name.lower().replace("_authtoken", "_auth_token")
    if lowered in {"auth", "_auth", "d"} or is_secret_name(lowered) or "token" in lowered or "password" in lowered:
        if len(value) >= 8 and not value.startswith(("/", "http")):
            yield value
        if lowered in {"auth", "_auth"}:
            yield from _of_basic(value)
    elif len(value) >= 16 and (is_odd(value) or suspicious(value)):
        yield value


def _of_basic(value: str) -> Iterator[str]:
    """The password of base64 of `user:password`."""
    try:
        said = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    if ":" in said:
        yield said.split(":", 1)[1]
