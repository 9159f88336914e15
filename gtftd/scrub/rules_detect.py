"""The pattern plugins of detect-secrets as rules: its own patterns behind heads that one pass can look for.

Two of its plugins are not taken. `ip_public` cannot tell an address from a version (see `personal`), and `private_key`
knows a block's first line only (see `keys`). Its entropy plugins report nearly every line of a transcript.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from gtftd.scrub.randomness import surprise
from gtftd.scrub.rules import Check, Rule, not_dull

_LEFT_OUT = frozenset({"base", "high_entropy_strings", "keyword", "ip_public", "private_key"})
_BY_GROUP = frozenset({"aws", "basic_auth", "cloudant", "ibm_cloud_iam", "ibm_cos_hmac", "npm", "softlayer"})
"""Plugins whose first group is the secret; of the others it is a mark, and the whole match goes."""
_UNBOUND = frozenset({"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}"})
"""Patterns without an edge, which a long run of base64 meets by chance."""
_GROUP = re.compile(r"(?<!\\)\((?!\?)")
_STAND_IN = re.compile(r"(?i)[$<{%*\\]|your|xxx|example|pass(?:word|wd)?\Z|secret\Z|token\Z|pwd\Z|user\Z|guest\Z")


@dataclass(frozen=True)
class _Probe:
    """What the scanner looks for where the head of a plugin's pattern would say too little."""

    text: str
    back: int = 0


_NAMED = r"(?i:key|pwd|pass(?:word)?|pw|token)[\"']?\]? {0,40}(?:=>|:=|::|=|:| ) {0,40}[\"']?"
_PROBES = {
    "aws.2": _Probe(r"(?i:aws[^\n]{0,20}(?:key|pw|pass|token)[^\n]{0,24})['\"][0-9a-zA-Z/+]{40}"),
    "basic_auth.1": _Probe(r"://[^\s:/@]{1,100}:[^\s:/@]{1,100}@"),
    "cloudant.1": _Probe(_NAMED + "(?i:[0-9a-f]{16})", 40),
    "cloudant.2": _Probe(_NAMED + "(?i:[a-z]{16})", 40),
    "cloudant.3": _Probe(r"[0-9a-f]{16}@[\w-]{1,63}\.cloudant\.com", 200),
    "cloudant.4": _Probe(r"[a-z]{16}@[\w-]{1,63}\.cloudant\.com", 200),
    "discord.1": _Probe(r"\.[a-zA-Z\d_-]{6}\.[a-zA-Z\d_-]{16}", 28),
    "ibm_cloud_iam.1": _Probe(_NAMED + "[a-zA-Z0-9_-]{16}", 40),
    "ibm_cos_hmac.1": _Probe(_NAMED + "(?i:[0-9a-f]{16})", 40),
    "mailchimp.1": _Probe("[0-9a-z]{4}-us[0-9]", 28),
    "npm.1": _Probe("/:_authToken=", 300),
    "softlayer.1": _Probe(_NAMED + "(?i:[a-z0-9]{16})", 40),
    "openai.1": _Probe("T3BlbkFJ[A-Za-z0-9]{16}", 200),
}


def detect_rules() -> tuple[Rule, ...]:
    """A rule for each pattern. Imports the plugins, which takes a quarter of a second once."""
    from detect_secrets import plugins

    modules = (found.name for found in iter_modules(plugins.__path__) if found.name not in _LEFT_OUT)
    return tuple(rule for name in sorted(modules) for rule in _rules_of(name))


def _rules_of(name: str) -> Iterator[Rule]:
    module = import_module(f"detect_secrets.plugins.{name}")
    for place, (kind, pattern) in enumerate(_patterns(module), start=1):
        probe = _PROBES.get(f"{name}.{place}", _Probe(""))
        check: Check = _is_no_sum if name == "telegram_token" else _is_drawn
        source = _source(name, pattern)
        yield Rule(f"ds.{name}.{place}", kind, source, check=check, probe=probe.text, back=probe.back)


def _patterns(module: ModuleType) -> Iterator[tuple[str, re.Pattern[str]]]:
    from detect_secrets.plugins.base import RegexBasedDetector

    for plugin in vars(module).values():
        if isinstance(plugin, type) and issubclass(plugin, RegexBasedDetector) and plugin.__module__ == module.__name__:
            kind = re.sub(r"[^A-Z0-9]+", "_", str(plugin.secret_type).upper()).strip("_")[:40]
            yield from ((kind, pattern) for pattern in plugin.denylist)  # type: ignore[attr-defined]


def _source(name: str, pattern: re.Pattern[str]) -> str:
    source = _GROUP.sub("(?P<secret>", pattern.pattern, count=1) if name in _BY_GROUP else pattern.pattern
    if pattern.pattern in _UNBOUND:
        source = f"(?<![A-Za-z0-9+/])(?:{source})(?![A-Za-z0-9+/])"
    flags = ("i" if pattern.flags & re.IGNORECASE else "") + ("x" if pattern.flags & re.VERBOSE else "")
    return f"(?{flags}:{source})" if flags else source


def _is_drawn(value: str) -> bool:
    """No row of one sign, no stand-in, and no words: `APARTICULAR` begins like a password of Artifactory."""
    bare = value.strip("\"'=: \t\n")
    if len(bare) < 16 or not bare.isalnum():
        drawn = any(map(str.isdigit, bare)) or surprise(bare) > -0.2
        return len(set(bare)) > 3 and drawn and _STAND_IN.search(bare) is None
    return not_dull(bare) and surprise(bare) > -0.6


def _is_no_sum(value: str) -> bool:
    """A number and a sum of hexadecimal digits are no bot's token."""
    return not_dull(value) and re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", value.partition(":")[2]) is None
