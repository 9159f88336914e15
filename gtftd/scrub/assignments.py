"""Secrets that only their name gives away: `DB_PASSWORD=hunter2`, `"token": "..."`, `--api-key ...`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gtftd.scrub.shapes import is_odd

_KEYWORD = re.compile(
    r"passw(?:or)?d|passphrase|pwd|secret|credential|token|api[_-]?key|(?:access|private|signing|encryption|auth)[_-]?key"
    r"|_key|_pass(?![a-z])|_pat(?![a-z])|_auth(?![a-z])"
)
_KINDS = (("pass", "PASSWORD"), ("pwd", "PASSWORD"), ("secret", "SECRET"), ("token", "TOKEN"), ("key", "API_KEY"))
_STRONG = re.compile(
    r"passw|passphrase|pwd|secret|credential|api[_-]?key|(?:access|private|signing|encryption)[_-]?key"
)
_ABOUT = re.compile(
    r"file|path|name|type|count|limit|max|min|len|size|budget|usage|expir|ttl|env|url|uri|field|policy|hint|reset|prompt"
    r"|manager|store|provider|version|rotat|scope|_ids?$|-ids?$|izer|s$"
)
_TAIL = re.compile(
    r"(?P<rest>[A-Za-z0-9_.-]{0,40})(?P<close>\\{0,4}[\"'`]?)\]?"
    r"(?P<sep>[ \t]{0,8}(?:=>|:=|={1,3}|:(?!:))\s{0,8}|(?P<cli>[ \t]{1,4})|(?P<xml>>))"
)
_VALUE = re.compile(
    r"[bfru]?(?P<open>\\{0,4}(?P<quote>[\"'`]))(?P<quoted>(?:(?!\\{0,4}(?P=quote))[^\n]){0,2000})"
    r"|(?P<bare>(?:[^\s\"'`,;&|)}\]<>\\]|\\(?![nrt\"'\\])){1,2000})"
)
_RETYPED = re.compile(r"[ \t]{0,4}=[ \t]{0,4}")
_PLACEHOLDER = re.compile(r"<[A-Z0-9_]{2,40}:[0-9a-f]{6}>")
_KEY_CHARS = re.compile(r"[A-Za-z0-9_.-]")
_LONGEST_READ = 200
"""A longer run without a blank behind such a name is a secret unread; it also bounds the work on hostile text."""
_DULL = frozenset(
    {
        "none", "null", "nil", "true", "false", "undefined", "string", "str", "int", "bool", "boolean", "number",
        "bytes", "any", "optional", "object", "required", "password", "passwd", "secret", "token", "empty", "unset",
        "redacted", "hidden", "env", "oidc", "vault", "changeme", "example", "yes", "no", "const", "let", "var", "self",
        "func", "list", "dict", "map", "array", "date", "the", "and", "is", "not", "in", "for", "or", "with",
    }
)  # fmt: skip
_NOT_A_VALUE = re.compile(r"\$|<|\{\{|\{[a-z_]|%\(|%[sdv]|\*{3}|-|=|:|/\*|\.\.\.|…|your[_-]|xxx", re.IGNORECASE)
_CALL = re.compile(r"[A-Za-z_][\w.]*[(\[].*")
_NAME_CHAIN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_IDENTIFIER = re.compile(r"[a-z]+(?:_[a-z]+)+|[a-z]+(?:[A-Z][a-z]+)+|[A-Z][a-z]+(?:[A-Z][a-z]+)*")
_HARMLESS = re.compile(
    r"[a-z]{2,12}-[a-z0-9]{2,8}(?:\.\d+)*|(?:\.{0,2}/|~).*|https?://.*|v?\d+(?:\.\d+)+|\d+|"
    r"(?:toolu|msg|req|call)_\w+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


@dataclass(frozen=True)
class Assigned:
    """A value to replace; `quote` goes around the replacement, so that JSON stays JSON."""

    start: int
    end: int
    kind: str
    quote: str = ""


def assigned(text: str) -> Iterator[Assigned]:
    """The values in `text` that a name calls secret, in order, without overlap. Linear: all looks are bounded."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters grow when they are lowered
        lowered = "".join(sign.lower() if sign.isascii() else sign for sign in text)
    past = 0
    for keyword in _KEYWORD.finditer(lowered):
        if keyword.start() < past:
            continue
        found = _value_of(text, keyword)
        if found is not None:
            past = found.end
            yield found


def is_secret_name(name: str) -> bool:
    """Whether a name alone (an environment variable, a key of an object) says that its value is secret."""
    lowered = name.lower()
    found = _KEYWORD.search(lowered)
    return found is not None and _ABOUT.search(lowered, found.end()) is None


def is_secret_value(name: str, value: str) -> bool:
    """Whether the value of a key with this name must go; both already decoded."""
    lowered = name.lower()
    found = _KEYWORD.search(lowered)
    return found is not None and _is_secret(name, lowered[found.end() :], value, quoted=True, env=name.isupper())


def _value_of(text: str, keyword: re.Match[str]) -> Assigned | None:
    start = keyword.start()
    while start > 0 and keyword.start() - start < 40 and _KEY_CHARS.match(text[start - 1]):
        start -= 1
    if start > 0 and text[start - 1] == "<" and _PLACEHOLDER.match(text, start - 1):
        return None
    tail = _TAIL.match(text, keyword.end())
    if tail is None:
        return None
    name = text[start : tail.end("rest")]
    if (tail["cli"] and not name.startswith("--")) or (tail["xml"] and text[max(0, start - 1)] != "<"):
        return None
    value = _VALUE.match(text, tail.end())
    if value is not None and value["bare"] and value["bare"].lower() in _DULL:
        again = _RETYPED.match(text, value.end())  # `password: str = "..."`
        value = _VALUE.match(text, again.end()) if again is not None else None
    if value is None or (value["quote"] is None and text[value.end() : value.end() + 1] in ("(", "[")):
        return None
    quoted = value["quote"] is not None
    said, span = (value["quoted"], value.span("quoted")) if quoted else (value["bare"], value.span("bare"))
    env = name.isupper() and tail["sep"] == "="
    if not _is_secret(name, tail["rest"].lower(), said, quoted=quoted, env=env):
        return None
    json_like = not quoted and tail["close"].endswith('"') and ":" in tail["sep"]
    return Assigned(*span, _kind(name), tail["close"] if json_like else "")


def _is_secret(name: str, rest: str, value: str, *, quoted: bool, env: bool) -> bool:
    if len(value) < 3 or value.lower() in _DULL or len(set(value)) < 3 or _NOT_A_VALUE.match(value):
        return False
    if not quoted and len(value) > _LONGEST_READ:
        return True
    strong = _STRONG.search(name.lower()) is not None and _ABOUT.search(rest) is None
    if value.count(" ") >= 4:  # a sentence, unless it may be a passphrase
        return strong and "phrase" in name.lower()
    if strong or (env and _ABOUT.search(rest) is None):
        return env or quoted or not any(code.fullmatch(value) for code in (_CALL, _NAME_CHAIN, _IDENTIFIER))
    if len(value) < 8 or _HARMLESS.fullmatch(value) or " " in value:
        return False
    if not quoted and any(code.fullmatch(value) for code in (_CALL, _NAME_CHAIN)):
        return False
    return is_odd(value) or (any(sign.isdigit() for sign in value) and any(sign.isalpha() for sign in value))


def _kind(name: str) -> str:
    lowered = name.lower()
    return next((kind for word, kind in _KINDS if word in lowered), "SECRET")
