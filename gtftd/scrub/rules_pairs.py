"""Secrets whose name stands apart from them: pairs of `name` and `value`, shells that set, passphrases."""

# ruff: noqa: E501  (a table of patterns: one a line)
from __future__ import annotations

import re

from gtftd.scrub.assignments import is_secret_value
from gtftd.scrub.rules import Rule

_NAME = (
    r"(?i:pass|secret|token|key|credential|_pw|_auth)"
    r"(?!\w{0,24}(?i:file|path|url|uri|name|_id|ttl|type|count|dir|ref|policy))[A-Za-z0-9_]{0,24}"
)
_PROBE = r"(?i:pass|secret|token|key|credential|_pw|_auth)[A-Za-z0-9_]{0,24}"
_OPEN = r"[\"'\\]{0,8}"
_BARE = r"[^\s\"'`<$\0{(\\][^\s\"'`\0<]{3,400}"
_WORDS = r"(?<=[\"'])[a-z]{3,12}(?: [a-z]{3,12}){2,9}(?=[\"'])"
_FOLD = r"[ \t]{0,200}[│┃|]?\r?\n[ \t│┃|⎿>]{0,80}"
_LOOSE = r"[A-Za-z]{1,12}"


def _is_given(value: str) -> bool:
    """What may be the value of a password, and no word of a sentence."""
    bare = value.rstrip(".,;:!?")
    if bare.isalpha() and (bare.islower() or bare.istitle()):
        return False
    if re.search(r"\w\(", bare) or bare in ("sk-", "sk-ant-"):
        return False
    return is_secret_value("PASSPHRASE", bare) and "://" not in bare and bare[:1] not in "/~."


def _is_phrase(value: str) -> bool:
    """Three words or more, joined by one sign; a fold may stand in a word."""
    signs = {sign for sign in value if sign in "-._ "} - {" "}
    joined = re.sub(r"\s*[│┃|]?\n[\s│┃|⎿>]*", "", value)
    return len(signs) == 1 and joined.count(signs.pop()) >= 2 and "self." not in value and "config" not in value


def _rule(name: str, source: str, *, probe: str = "", check: object = _is_given, near: str = "", back: int = 0) -> Rule:
    return Rule(name, "PASSWORD", source, check=check, probe=probe, near=tuple(near.split()), back=back)  # type: ignore[arg-type]


PAIR_RULES: tuple[Rule, ...] = (
    _rule(
        "pair.value",
        rf"{_NAME}(?:[\"'],?\s{{1,4}}|\r?\n)[ \t>|│┃⎿-]{{0,40}}[\"']?[Vv]alue[\"']?\s?[:=]\s{{0,3}}{_OPEN}(?P<secret>{_BARE}|{_WORDS})",
        probe=_PROBE + r"[\"']?,?\s{1,4}[ \t>|?-]{0,40}[\"']?[Vv]alue[\"']?\s?[:=]",
    ),
    _rule(
        "pair.set",
        rf"{_NAME}[ \t]{{1,4}}{_OPEN}(?P<secret>{_BARE}|{_WORDS})",
        probe=_PROBE + r"[ \t]{1,4}[^ \t\n=:]",
        near="-gx -Ux setenv setx ENV putenv",
    ),
    _rule(
        "pair.told",
        rf"{_NAME}[`\"']? (?:was|is|has been|were|got) (?:set|changed|reset|rotated|put|moved) to [\"'`]?(?P<secret>{_BARE}|{_WORDS})",
        probe=_PROBE + r"[`\"']? [a-z ]{2,8} [a-z]{3,8} to ",
    ),
    _rule(
        "pair.sshpass",
        rf"(?:SSHPASS|REDISCLI_AUTH|VNCPASS|SMBPASS)={_OPEN}(?P<secret>[^\s\"'<$\0][^\s\"'\0]{{2,255}})",
    ),
    _rule(
        "pair.pw",
        rf"(?:[A-Za-z0-9][_-](?i:pw)|[a-z]Pw)[\"'\]]{{0,3}}\s{{0,3}}(?:=>|:=|[:=])\s{{0,3}}{_OPEN}(?P<secret>{_BARE})",
        check=lambda value: _is_given(value) and re.fullmatch(r"[a-z]+(?:_[a-z]+)*,?", value) is None,
    ),
    _rule(
        "htpasswd.batch",
        rf"htpasswd\s-[a-zA-Z]{{0,3}}b[a-zA-Z]{{0,3}}\s(?:\S{{1,120}}\s)?\S{{1,64}}\s{_OPEN}(?P<secret>[^\s\"'<$\0][^\s\"'\0]{{3,127}})",
        probe=r"htpasswd\s-[a-zA-Z]{0,3}b[a-zA-Z]{0,3}\s",
    ),
    _rule(
        "phrase.quoted",
        rf"(?i:phrase)[\"'\]]{{0,3}}\s{{0,3}}(?:=>|:=|[:=]|is|was)\s{{0,3}}{_OPEN}(?<=[\"'`])"
        rf"(?P<secret>{_LOOSE}(?:(?: {{0,2}}{_FOLD}|[ ._-]){_LOOSE}){{2,14}})(?=[\"'`\\])",
        probe=r"(?i:phrase)[\"'\]]{0,3}\s{0,3}(?:=>|:=|[:=]|is|was)\s{0,3}",
        check=lambda value: not re.search(r"(?i)config|self|process|phrase", value),
    ),
    _rule(
        "phrase.joined",
        rf"(?i:phrase)[\"'\]]{{0,3}}\s{{0,3}}(?:=>|:=|[:=>])\s{{0,3}}{_OPEN}"
        rf"(?P<secret>{_LOOSE}(?:(?:{_FOLD}|[._-](?:{_FOLD})?){_LOOSE}){{2,14}})(?=[\s\"'`<&\\;,]|$)",
        probe=r"(?i:phrase)[\"'\]]{0,3}\s{0,3}(?:=>|:=|[:=>])\s{0,3}",
        check=_is_phrase,
    ),
)
