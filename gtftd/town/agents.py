"""Which agent serves a role, and whether it is one of our own models (gastown.md 4.1 to 4.4)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from gtftd.town.identity import ROLES
from gtftd.town.programs import find_program

OWN_AGENTS = ("node0-*", "gtftd-*", "gtft-*")
"""The patterns of `snapshots.own_agents` where nothing is configured."""
DEFAULT = "claude"
_DOG = "claude-haiku"
_BUILT_IN = {DEFAULT, "gemini", "codex", "cursor", "auggie", "amp", "opencode", "copilot", "pi", "omp", "vibe"}
_BUILT_IN |= {"groq-compound"}
_TABLES = ("agents", "role_agents", "crew_agents", "worker_agents", "runtime")
_MAX_BYTES = 1024 * 1024
Table = Mapping[str, object]
Which = Callable[[str], str | None]


@dataclass(frozen=True)
class ServingAgent:
    """An alias, or why there is a doubt; `reason` is for a person in both cases."""

    alias: str | None
    reason: str

    @property
    def is_certain(self) -> bool:
        return self.alias is not None


def is_ours(alias: str, patterns: Iterable[str] = OWN_AGENTS) -> bool:
    """Is this the alias of one of our own models?"""
    return any(fnmatchcase(alias, pattern) for pattern in patterns)


def serving_agent(
    role: str,
    town: Path | None,
    rig: str | None = None,
    *,
    name: str | None = None,
    environ: Mapping[str, str] = os.environ,
    which: Which = find_program,
) -> ServingAgent:
    """The agent that runs here, as its session says (`GT_AGENT`), else the one that gt would start for this role.

    `name` is that of a member of the crew, who can have an agent of their own. What gt decides by things that cannot
    be seen from here is a doubt, and so is whatever it would answer with a warning.
    """
    if given := environ.get("GT_AGENT"):
        return ServingAgent(given, "GT_AGENT names it")
    if role not in ROLES:
        return _doubt(f"{role!r} is no role that gt resolves an agent for")
    if town is None:
        return _doubt("GT_AGENT is not set, and no town is known whose settings would say")
    try:
        return _Settings.read(town, rig, which).resolve(role, name, environ.get("GT_COST_TIER", ""))
    except _BrokenError as error:
        return _doubt(f"{error}; gt would take its defaults")


class _BrokenError(Exception):
    """A settings file that gt could not read."""


@dataclass(frozen=True)
class _Settings:
    town: Table
    rig: Table
    registered: Table
    which: Which

    @classmethod
    def read(cls, town: Path, rig: str | None, which: Which) -> _Settings:
        root, inside = town / "settings", town / rig / "settings" if rig else None
        registries = [_load(folder / "agents.json") for folder in (root, inside) if folder]
        registered = {name: entry for one in registries for name, entry in _table(one, "agents").items()}
        return cls(_load(root / "config.json"), _load(inside / "config.json") if inside else {}, registered, which)

    def resolve(self, role: str, name: str | None, tier: str) -> ServingAgent:
        for settings in (self.rig, self.town):
            for key in _TABLES:
                _table(settings, key)  # gt reads the whole file or none of it
        if runtime := _table(self.rig, "runtime"):
            alias = _text(runtime, "provider") or _text(runtime, "command") or DEFAULT
            return ServingAgent(alias, "the rig's settings have a runtime, which wins over every alias")
        if role == "dog":
            if (doubt := self._dog()) is not None:
                return doubt
        elif tier and not self._has_other_platform(role, everywhere=False):
            return _doubt(f"GT_COST_TIER is {tier}, and gt then decides by its own table")
        for place, alias in self._places(role, name):
            if alias:
                return self._checked(place, alias)
        return ServingAgent(DEFAULT, "nothing in the settings names another")

    def _dog(self) -> ServingAgent | None:
        """Dogs run on Claude Haiku unless somebody chose another platform for them; versions of gt differ where."""
        if self._has_other_platform("dog", everywhere=False):
            return None
        if self._has_other_platform("dog", everywhere=True):
            return _doubt("only a default names an agent for dogs, which some versions of gt give to Claude Haiku")
        return ServingAgent(_DOG, "gt gives dogs Claude Haiku unless their role names an agent that is not Claude")

    def _has_other_platform(self, role: str, *, everywhere: bool) -> bool:
        """Does a place name an agent that is not Claude?"""
        aliases = [_text(_table(one, "role_agents"), role) for one in (self.rig, self.town)]
        if everywhere:
            aliases += [_text(self.rig, "agent"), _text(self.town, "default_agent")]
        return any(alias and self._is_claude(alias) is False for alias in aliases)

    def _places(self, role: str, name: str | None) -> Iterator[tuple[str, str]]:
        """Where an alias may stand, the strongest first."""
        if role == "crew" and name:
            yield f"worker_agents of the rig names it for {name}", _text(_table(self.rig, "worker_agents"), name)
            yield f"crew_agents of the town names it for {name}", _text(_table(self.town, "crew_agents"), name)
        yield f"role_agents of the rig names it for {role}", _text(_table(self.rig, "role_agents"), role)
        yield f"role_agents of the town names it for {role}", _text(_table(self.town, "role_agents"), role)
        yield "it is the rig's agent", _text(self.rig, "agent")
        yield "it is the town's default_agent", _text(self.town, "default_agent")

    def _checked(self, place: str, alias: str) -> ServingAgent:
        """Custom agents gt starts without a look; a registered one that is not there it replaces, with a warning."""
        if self._custom(alias) is not None or (alias in _BUILT_IN and alias not in self.registered):
            return ServingAgent(alias, place)
        entry = self.registered.get(alias)
        if not isinstance(entry, dict):
            return _doubt(f"{place}, but nothing defines {alias}; gt would take another agent")
        command = _text(entry, "command")
        if not command or self.which(command) is None:
            return _doubt(f"{place}, but its program {command or '(none)'} is not on the PATH; gt would take another")
        return ServingAgent(alias, place)

    def _custom(self, alias: str) -> Table | None:
        for settings in (self.rig, self.town):
            found = _table(settings, "agents").get(alias)
            if isinstance(found, dict):
                return found
        return None

    def _is_claude(self, alias: str) -> bool | None:
        """By its provider, else by the name of its command; None for an alias that nothing defines."""
        entry = self._custom(alias)
        if entry is None and isinstance(registered := self.registered.get(alias), dict):
            entry = registered
        if entry is None:
            return alias == DEFAULT if alias in _BUILT_IN else None
        if provider := _text(entry, "provider"):
            return provider == DEFAULT
        return PurePath(_text(entry, "command") or DEFAULT).stem == DEFAULT


def _doubt(reason: str) -> ServingAgent:
    return ServingAgent(None, reason)


def _load(path: Path) -> Table:
    """A missing file is an empty one: gt then takes its defaults without a warning."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        loaded = json.loads(content)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _BrokenError(f"{path} cannot be read ({error})") from error
    if len(content) > _MAX_BYTES or not isinstance(loaded, dict):
        raise _BrokenError(f"{path} holds no JSON object of a usual size")
    return loaded


def _table(settings: Table, key: str) -> Table:
    value = settings.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _BrokenError(f"{key} in the settings is a JSON {type(value).__name__}, not an object")
    return value


def _text(settings: Table, key: str) -> str:
    value = settings.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _BrokenError(f"{key} in the settings is a JSON {type(value).__name__}, not a string")
    return value
