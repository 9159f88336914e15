"""The secrets that a town is known to hold: replaced wherever they stand, whatever they look like."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gtftd.scrub.assignments import is_secret_name
from gtftd.scrub.credentials import credentials_of, passwords_in, read, secrets_in
from gtftd.scrub.shapes import is_odd

MIN_CHARS = 8
_ENV_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*$")
_SECRET_NAME = re.compile(r".*(?:TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)", re.IGNORECASE)


def known_values_of(
    town_root: Path, rigs: Iterable[Path], *, environ: Mapping[str, str], home: Path | None = None
) -> dict[str, str]:
    """Secret values by name, from env files of the town and its rigs, `mayor/daemon.json`, the credential files of the
    user's home and of the town's accounts, settings of agents, and `environ`. Short values are left out: replacing
    them everywhere would eat ordinary words.
    A file that cannot be read or understood gives none. Blocks: call it in a thread.
    """
    found: dict[str, str] = {}
    for name, value in _pairs(town_root, rigs, environ, home or Path.home()):
        if len(value) < MIN_CHARS or value in found.values():
            continue
        place, count = name, 2
        while place in found:
            place, count = f"{name}_{count}", count + 1
        found[place] = value
    return found


def _pairs(town_root: Path, rigs: Iterable[Path], environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if _SECRET_NAME.fullmatch(name):
            yield name, value
    for folder in (town_root, *(part for rig in rigs for part in (rig, rig / "mayor" / "rig"))):
        for path in _files(folder):
            yield from _of_env_file(read(path))
    yield from _of_daemon(read(town_root / "mayor" / "daemon.json"))
    yield from credentials_of(home, *_accounts(town_root))
    for name in ("config.json", "agents.json"):
        yield from (("AGENT_ENV", value) for value in secrets_in(_loaded(town_root / "settings" / name)))


def _accounts(town_root: Path) -> list[Path]:
    """The credentials of each Claude account that `mayor/accounts.json` names."""
    loaded = _loaded(town_root / "mayor" / "accounts.json")
    accounts = loaded.get("accounts") if isinstance(loaded, dict) else None
    folders = [
        entry.get("config_dir")
        for entry in (accounts.values() if isinstance(accounts, dict) else ())
        if isinstance(entry, dict)
    ]
    return [Path(folder).expanduser() / ".credentials.json" for folder in folders if isinstance(folder, str)]


def _loaded(path: Path) -> object:
    try:
        return json.loads(read(path) or "null")
    except (ValueError, RecursionError):
        return None


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(".env*") if path.is_file() and "example" not in path.name)
    except OSError:
        return []


def _of_env_file(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if (match := _ENV_LINE.fullmatch(line)) is not None:
            yield from _secret(match["name"], match["value"].strip("\"'"))


def _of_daemon(text: str) -> Iterator[tuple[str, str]]:
    try:
        loaded = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return
    env = loaded.get("env") if isinstance(loaded, dict) else None
    for name, value in (env if isinstance(env, dict) else {}).items():
        if isinstance(value, str):
            yield from _secret(name, value)


def _secret(name: str, value: str) -> Iterator[tuple[str, str]]:
    """The value when its name or its look says so, else the passwords inside of it."""
    passwords = list(passwords_in(value))
    if passwords:
        yield from ((name, password) for password in passwords)
    elif _SECRET_NAME.fullmatch(name) or is_secret_name(name) or (len(value) >= 16 and is_odd(value)):
        yield name, value
