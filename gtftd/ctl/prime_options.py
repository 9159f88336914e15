"""The few settings that `gtftctl prime` needs, read without the models of the configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.settings import PREFIX, find_config, read_toml
from gtftd.town.agents import OWN_AGENTS

MOST_TOKENS = 3000
MOST_WAIT_S = 2.0


@dataclass(frozen=True)
class PrimeOptions:
    """The same defaults as `schemas.settings`; a test compares them."""

    own_agents: tuple[str, ...] = OWN_AGENTS
    roles: tuple[str, ...] = ()
    timeout_s: float = 0.2
    most_tokens: int = MOST_TOKENS


def read_options(config: Path | None = None, environ: Mapping[str, str] = os.environ) -> PrimeOptions:
    """Raises Invalid for a value that is not of its kind; the daemon would refuse it with more words."""
    file = find_config(config, environ=environ)
    given = read_toml(file) if file else {}
    usual = PrimeOptions()

    def value(section: str, key: str, default: object) -> object:
        if (text := environ.get(f"{PREFIX}{section}__{key}".upper())) is not None:
            return _parsed(text)
        table = given.get(section, {})
        return table.get(key, default) if isinstance(table, dict) else default

    return PrimeOptions(
        own_agents=_texts("snapshots.own_agents", value("snapshots", "own_agents", usual.own_agents)),
        roles=_texts("prime.roles", value("prime", "roles", usual.roles)),
        timeout_s=_number("prime.timeout_s", value("prime", "timeout_s", usual.timeout_s), MOST_WAIT_S),
        most_tokens=int(_number("prime.most_tokens", value("prime", "most_tokens", usual.most_tokens), MOST_TOKENS)),
    )


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _texts(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise Invalid(f"{key} is {value!r}, not a list of texts")


def _number(key: str, value: object, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most:
        return float(value)
    raise Invalid(f"{key} is {value!r}, not a number above 0 and not above {most:g}")
