"""Whether a name and the value behind it say together that the value is secret."""

# ruff: noqa: E501  (tables of patterns)
from __future__ import annotations

import re

from gtftd.scrub.randomness import surprise
from gtftd.scrub.shapes import MAX_TOKEN, is_odd

KEYWORD = re.compile(
    r"passw(?:or)?d|passw|passphrase|passcode|pwd|secret|credential|token|api[_ -]?key|(?:access|private|signing|encryption|auth|master)[_ -]?key"
    r"|[_-]key|key|[_-]pass(?![a-z])|_pat(?![a-z])|[_-]auth(?![a-z])|\bpass\b|\bauth\b|_salt|seed|jwt|bearer|hmac|cipher"
)
_KINDS = (("pass", "PASSWORD"), ("pwd", "PASSWORD"), ("secret", "SECRET"), ("token", "TOKEN"), ("key", "API_KEY"))
STRONG = re.compile(
    r"passw|passphrase|passcode|pwd|secret|credential|api[_ -]?key|(?:access|private|signing|encryption|master)[_ -]?key|[_-]pass\b|\bpass\b"
)
ABOUT = re.compile(
    r"file|path|name|type|count|limit|max|min|len|size|budget|usage|expir|ttl|env|url|uri|field|policy|hint|reset|prompt"
    r"|manager|store|provider|version|rotat|scope|_ids?$|-ids?$|^ids?$|izer|s$|label|placeholder|text|regex|pattern|format|error"
    r"|message|title|help|desc|mgr|lifetime|history|chang|requir|\.(?:json|ya?ml|toml|txt|pem|md|py|js|lock|pub|c|h|cc|cpp|go|rs|java|rb|sh)\b|valid|length|strength|column|header|param|input|date|_at$|kind|class|style|public|ref$|arn"
    r"|dir|not_|no_|allow|match|anonym|deni|fail|invalid|missing|_t$"
)
_PUBLIC = re.compile(r"pub(?:lic)?[_-]?key|pubkey")
_LONGEST_READ = 200
"""A longer run without a blank behind such a name is a secret unread; it also bounds the work on hostile text."""
DULL = frozenset(
    {
        "foo", "bar", "baz", "qux", "value", "values", "sample", "guest", "pass", "sekrit", "error", "incorrect", "dummy", "default",
        "xyz", "abc", "credential", "credentials", "deprecated", "rootpw", "git", "blah", "thing", "testpass", "mypass", "mytoken", "mysecret",
        "text", "varchar", "none", "null", "nil", "true", "false", "undefined", "string", "str", "int", "bool", "boolean", "number",
        "bytes", "any", "optional", "object", "required", "password", "passwd", "secret", "token", "empty", "unset",
        "redacted", "hidden", "env", "oidc", "vault", "changeme", "example", "yes", "no", "const", "let", "var", "self",
        "func", "list", "await", "new", "return", "async", "lambda", "if", "else", "not", "this", "req", "res", "function", "dict", "map", "array", "date", "the", "and", "is", "in", "for", "or", "with",
    }
)  # fmt: skip
NOT_A_VALUE = re.compile(
    r"@proxy|\$|<|\\[dwsSDW]|\[|\(|\?|\{\{|\{[a-z_]|%\(|%[sdv]|\*{2}|-|=|:|/\*|\.\.\.|…|your[_-]|xxx|.*abcdefghij"
    r"|.*(?<![a-z0-9])(?:your[_-]|(?:your|xxx+)(?![a-z0-9]))|[a-z]+(?:[_-][a-z]+)*[_-]here\Z",
    re.IGNORECASE,
)
"""What shows where a value would stand."""
_NAMES_ITSELF = re.compile(
    r"(?:(?:i ?am|my|the|some|super|test|very|a)[_-]?)*(?:(?:secret|sensitive|password|passwd|token)[_-]?)+",
    re.IGNORECASE,
)
"""`SuperSecretToken`: only words for what it is, and no secret."""
_CALL = re.compile(r"[A-Za-z_][\w.]*[(\[].*")
_PLACE = re.compile(r"(?:/[\w.-]+){2,}|[\w./-]+\.[a-z]{1,4}:\d+(?::\d+)*:?|\d+:")
NAME_CHAIN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_IDENTIFIER = re.compile(r"[a-z]+(?:_[a-z]+)+|[a-z]+(?:[A-Z][a-z]+)+|[A-Z]+[a-z]+(?:[A-Z]+[a-z]+)*")
_DRAWN = 0.3
HARMLESS = re.compile(
    r"aes-?\d{3}-\w+|#(?:[0-9a-fA-F]{3}){1,2}(?:[0-9a-fA-F]{2})?|[a-z]{2,12}-[a-z0-9]{2,8}(?:\.\d+)*|(?:\.{0,2}/|~).*|https?://.*|v?\d+(?:\.\d+)+|\d+|"
    r"(?:toolu|msg|req|call)_\w+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)
VAGUE = frozenset({"key", "-key", "seed", "cipher", "jwt", "bearer", "hmac", "auth", "pass"})
"""Words that mean other things as often: their value must look random."""
_JOINED_WORDS = re.compile(r"[A-Za-z]{3,12}(?:([-._])[A-Za-z]{3,12})(?:\1[A-Za-z]{3,12}){1,10}")
"""`correct-horse-battery`: a passphrase, where the name says so."""
_OF_CODE = ("self.", "config", "phrase", "password", "secret", "args.", "process.", "settings", "getenv", "environ")
_HEX_ONLY = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DOTTED = re.compile(r"\(\)|->|\?\.|\w\(|\[\d|\)\.")
_SERIAL = re.compile(
    r"[A-Za-z]+(?:[-_./:][A-Za-z]+)*[-_./:]?\d{1,4}(?:[-_.][A-Za-z]+)?|[a-z]+\d?(?:[-_.][a-z0-9]{1,12})+"
)


def keyword_of(name: str) -> tuple[str, str]:
    """What in a name says most that its value is secret, and what stands behind that."""
    lowered = name.lower()
    strong = list(STRONG.finditer(lowered))
    found = strong[-1] if strong else KEYWORD.search(lowered)
    return (found.group(), lowered[found.end() :]) if found is not None else ("", lowered)


def kind_of(name: str) -> str:
    lowered = name.lower()
    return next((kind for word, kind in _KINDS if word in lowered), "SECRET")


def is_secret(name: str, rest: str, value: str, *, quoted: bool, env: bool, keyword: str = "") -> bool:
    """`rest` is what stands in the name behind `keyword`, as `keyword_of` tells them."""
    if _is_stand_in(value):
        return False
    if not quoted and len(value) > _LONGEST_READ:
        return True
    lowered = name.lower()
    about = ABOUT.search(rest) is not None
    if _names_another_thing(lowered, rest, value, keyword):
        return False
    strong = STRONG.search(lowered) is not None and not about
    if strong and _JOINED_WORDS.fullmatch(value) and ("phrase" in lowered or (quoted and value.count("-") > 2)):
        return not any(word in value for word in _OF_CODE)
    if value.count(" ") >= 4:  # a sentence, unless it may be a passphrase
        return strong and "phrase" in lowered
    if strong or (env and keyword not in VAGUE and not about):
        return _is_strong_value(lowered, value, quoted=quoted, env=env, strong=strong)
    if "token" in lowered and _UUID.fullmatch(value) and not about:
        return True
    return _is_weak_value(value, is_vague=keyword in VAGUE, is_about=about)


def _is_stand_in(value: str) -> bool:
    """What nobody has for a secret: words of examples, of code, places, and what is too short."""
    if len(value) < 3 or len(set(value)) < 3 or value == "123" or value.lower() in DULL:
        return True
    return any(shape.fullmatch(value) for shape in (_NAMES_ITSELF, _PLACE)) or NOT_A_VALUE.match(value) is not None


def _names_another_thing(lowered: str, rest: str, value: str, keyword: str) -> bool:
    """A working folder, the number of a key, a public one, or data that is too long for a secret."""
    if lowered in {"pwd", "oldpwd"} and value[:1] in "/~":
        return True
    if len(value) > MAX_TOKEN and (keyword in VAGUE or ABOUT.search(rest)):
        return True
    return keyword == "key" and bool(re.fullmatch(r"[_-]?ids?", rest) or _PUBLIC.search(lowered))


def _is_weak_value(value: str, *, is_vague: bool, is_about: bool) -> bool:
    """What stands behind a name that means other things as often."""
    if len(value) < 8 or HARMLESS.fullmatch(value) or " " in value:
        return False
    if any(code.fullmatch(value) for code in (_CALL, NAME_CHAIN)) or _DOTTED.search(value):
        return False
    if is_about and _HEX_ONLY.fullmatch(value):
        return False
    atoms = re.split(r"[^A-Za-z0-9]+", value)
    odd = any(is_odd(atom) for atom in atoms) or is_odd(re.sub(r"[^A-Za-z0-9]", "", value))
    if is_vague or is_about:
        return odd and "/" not in value[:1]
    return odd or (
        any(sign.isdigit() for sign in value)
        and any(sign.isalpha() for sign in value)
        and _SERIAL.fullmatch(value) is None
    )


def _is_strong_value(lowered: str, value: str, *, quoted: bool, env: bool, strong: bool) -> bool:
    """What stands behind a name that leaves no doubt; code, paths and words that are no value stay."""
    if " " in value and "phrase" in lowered:
        return quoted and value.count(" ") > 1
    if " " in value:
        return strong and value.count(" ") < 3 and (any(sign.isdigit() for sign in value) or "correct" in value)
    if any(code.fullmatch(value) for code in (_CALL, NAME_CHAIN)) or (_DOTTED.search(value) and not quoted):
        return env and (not NAME_CHAIN.fullmatch(value) or surprise(value) > _DRAWN)
    if HARMLESS.fullmatch(value) and not (env or value.isdigit() or _UUID.fullmatch(value)):
        return False
    return env or quoted or _IDENTIFIER.fullmatch(value) is None
