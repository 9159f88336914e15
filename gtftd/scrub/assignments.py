"""Secrets that only their name gives away: `DB_PASSWORD=hunter2`, `"token": "..."`, `--api-key ...`, "the password is ..."."""

# ruff: noqa: E501, RUF001  (tables of patterns; the quotes of prose)
from __future__ import annotations

import re

from gtftd.scrub.shapes import is_odd
from gtftd.scrub.views import View

Found = tuple[int, int, str, bool]
"""Start, end, kind, and whether it is certain."""

_KEYWORD = re.compile(
    r"passw(?:or)?d|passw|passphrase|passcode|pwd|secret|credential|token|api[_ -]?key|(?:access|private|signing|encryption|auth|master)[_ -]?key"
    r"|[_-]key|key|[_-]pass(?![a-z])|_pat(?![a-z])|[_-]auth(?![a-z])|\bpass\b|\bauth\b|_salt|seed|jwt|bearer|hmac|cipher"
)
_KINDS = (("pass", "PASSWORD"), ("pwd", "PASSWORD"), ("secret", "SECRET"), ("token", "TOKEN"), ("key", "API_KEY"))
_STRONG = re.compile(
    r"passw|passphrase|passcode|pwd|secret|credential|api[_ -]?key|(?:access|private|signing|encryption|master)[_ -]?key|[_-]pass\b|\bpass\b"
)
_ABOUT = re.compile(
    r"file|path|name|type|count|limit|max|min|len|size|budget|usage|expir|ttl|env|url|uri|field|policy|hint|reset|prompt"
    r"|manager|store|provider|version|rotat|scope|_ids?$|-ids?$|^ids?$|izer|s$|label|placeholder|text|regex|pattern|format|error"
    r"|message|title|help|desc|mgr|lifetime|history|chang|requir|\.(?:json|ya?ml|toml|txt|pem|md|py|js|lock|pub)\b|valid|length|strength|column|header|param|input|date|_at$|kind|class|style|public|ref$|arn"
)
_TAIL = re.compile(
    r"(?P<rest>[A-Za-z0-9_.-]{0,40})(?P<close>[\"'`]?)\]?(?P<bold>\*{0,2}_{0,2}`?)"
    r"(?P<sep>[ \t]{0,8}(?:=>|:=|={1,3}|:(?!:)|(?<=[ \t`*])\|(?=[ \t]))\s{0,8}|(?P<comma>, ?)(?=[\"'])|(?P<xml>>)|(?P<call>\()(?=[\"'`]))(?P<more>\*{0,2}[ \t]{0,4})"
)
_ATTRIBUTE = re.compile(r"<[\w:.-]{1,40}\s[^<>\n]{0,60}=[\"']\Z")
_BARE = re.compile(r"[^\s\"'`<>\0]{1,2000}")
_CUT = re.compile(r"[,;&|)}\]]")
_ENV_HEAD = re.compile(
    r"(?:^|[\n;&|])[ \t]*(?:(?:export|set|ENV|ARG|env|declare -x|-e|--env|-D|\$env:|- |\+ ?|\d+[:|→\t] ?)[ \t]*)*\Z"
)
_RETYPED = re.compile(r"[ \t]{0,4}=[ \t]{0,4}")
_KEY_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_LONGEST_READ = 200
"""A longer run without a blank behind such a name is a secret unread; it also bounds the work on hostile text."""
_DULL = frozenset(
    {
        "text", "varchar", "none", "null", "nil", "true", "false", "undefined", "string", "str", "int", "bool", "boolean", "number",
        "bytes", "any", "optional", "object", "required", "password", "passwd", "secret", "token", "empty", "unset",
        "redacted", "hidden", "env", "oidc", "vault", "changeme", "example", "yes", "no", "const", "let", "var", "self",
        "func", "list", "await", "new", "return", "async", "lambda", "if", "else", "not", "this", "req", "res", "function", "dict", "map", "array", "date", "the", "and", "is", "in", "for", "or", "with",
    }
)  # fmt: skip
_NOT_A_VALUE = re.compile(
    r"\$|<|\\[dwsSDW]|\[|\(|\?|\{\{|\{[a-z_]|%\(|%[sdv]|\*{2}|-|=|:|/\*|\.\.\.|…|your[_-]|xxx", re.IGNORECASE
)
_CALL = re.compile(r"[A-Za-z_][\w.]*[(\[].*")
_NAME_CHAIN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_IDENTIFIER = re.compile(r"[a-z]+(?:_[a-z]+)+|[a-z]+(?:[A-Z][a-z]+)+|[A-Z]+[a-z]+(?:[A-Z]+[a-z]+)*")
_NAME_LIKE = re.compile(r"[A-Za-z]+\d{0,4}(?:[_.-][A-Za-z]+\d{0,4})*")
_HARMLESS = re.compile(
    r"[a-z]{2,12}-[a-z0-9]{2,8}(?:\.\d+)*|(?:\.{0,2}/|~).*|https?://.*|v?\d+(?:\.\d+)+|\d+|"
    r"(?:toolu|msg|req|call)_\w+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


_FLAG = re.compile(
    r"--?[A-Za-z-]{0,60}?(?P<name>[A-Za-z-]{0,24}(?:passw|pass|pwd|secret|token|key|credential|auth)[A-Za-z-]{0,16})[ \t]{1,4}"
    r"(?:(?P<quote>[\"'])(?P<quoted>[^\"'\n\0]{1,500})(?P=quote)|(?P<bare>[^\s\"'`<>|;&\0-][^\s\"'`<>|;&\0]{0,1000}))",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"(?P<name>passwords?|passphrase|passcode|passwd|secret|token|api[ -]?key|access[ -]key|credentials?|creds|login|pwd|pw|pass)"
    r"(?P<about>(?:[ \t]+(?:for|of|to|on|in|at|the|a|my|our|your|their|his|her|this|that|root|admin|user|db|database|account|server|prod|staging|key|value|again|here|new|now|there"
    r"|`[^`\n]{1,40}`|[A-Za-z][\w.@-]{1,30})){0,6}?)"
    r"(?P<verb>[ \t]+(?:is|was|are|were|will be|should be|to|as|equals|reads|being)(?:[ \t]+(?:now|still|set to|currently|just|simply|literally|changed to))?[ \t]*:?|[ \t]*(?::|=|->|→|-)|)[ \t]+"
    r"(?P<open>[\"'`“‘«*]{0,3})(?P<value>[^\s\"'`“”‘’»\0<>]{4,200})(?P<close>[\"'`”’»*]{0,3})",
    re.IGNORECASE,
)


_TOLD_WORDS = re.compile(
    r"pass(?:phrase|word)[^\n\"'`“:]{0,60}(?:is|was|:|=)[ \t]*[\"'`“](?P<value>[a-zA-Z]{3,12}(?:[ -][a-zA-Z]{3,12}){2,11})[\"'`”]",
    re.IGNORECASE,
)


def named(view: View, keyword_at: int) -> Found | None:
    """The value behind the name around this keyword, if the two together say that it is secret. Bounded looks."""
    text = view.text
    keyword = _KEYWORD.search(text[keyword_at : keyword_at + 24].lower())
    if keyword is None:
        return None
    keyword_at += keyword.start()
    head = text[max(0, keyword_at - 40) : keyword_at]
    start = keyword_at - (len(head) - len(head.rstrip(_KEY_CHARS)))
    tail = _TAIL.match(text, keyword_at + len(keyword.group()))
    if tail is None or (tail["xml"] and not _in_tag(text, start)) or (tail["comma"] and not tail["close"]):
        return None
    name = text[start : tail.end("rest")]
    word, rest = _keyword_of(name)
    if tail["call"] and (name.isupper() or not re.search(r"(?i)set|with|add|use|login|auth|connect|password\Z", name)):
        return None
    place = _value(view, start, name, tail)
    if place is None:
        return None
    at, end, quoted = place
    value = text[at:end]
    if (tail["comma"] or "|" in (tail["sep"] or "")) and _is_wordy(value):
        return None
    if not quoted and value.isalpha() and (value.islower() or value.istitle()) and not _stands_alone(text, start, end):
        return None
    env = name.isupper() and tail["sep"] == "="
    if not _is_secret(name, rest, value, quoted=quoted, env=env, keyword=word):
        return None
    return at, end, _kind(name), _STRONG.search(name.lower()) is not None


def _keyword_of(name: str) -> tuple[str, str]:
    """What in a name says most that its value is secret, and what stands behind that."""
    lowered = name.lower()
    strong = list(_STRONG.finditer(lowered))
    found = strong[-1] if strong else _KEYWORD.search(lowered)
    return (found.group(), lowered[found.end() :]) if found is not None else ("", lowered)


def _in_tag(text: str, start: int) -> bool:
    """Whether a name is that of an element, or stands in an attribute of one: `<property name="password">`."""
    return text[max(0, start - 1) : start] == "<" or _ATTRIBUTE.search(text, max(0, start - 100), start) is not None


def _is_wordy(value: str) -> bool:
    """A word, or names joined: what stands next to a password in a list or a table."""
    return _NAME_LIKE.fullmatch(value) is not None or not any(sign.isdigit() or sign in "!@#$%^&*+" for sign in value)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether nothing else stands on the lines of a name and its value: a word in a sentence is no secret."""
    line = text.rfind("\n", max(0, start - 100), start) + 1
    stop = text[end : end + 1]
    return not text[line:start].strip(" \t-+>|│┃\"'") and stop in ("", "\n", "\r", '"', "'")


def flagged(text: str, start: int) -> Found | None:
    """The value of a command's flag: `--token abc`."""
    found = _FLAG.match(text, start)
    if found is None or (start > 0 and text[start - 1] not in " \t\n\"'[(,`"):
        return None
    group = "quoted" if found["quote"] else "bare"
    value = found[group]
    name = found["name"].lstrip("-")
    word, rest = _keyword_of(name)
    if not word or value[:1] in "/~" or (value.isalpha() and value.islower() and group == "bare" and len(value) < 9):
        return None
    if not _is_secret(name, rest, value, quoted=False, env=False, keyword=word):
        return None
    return *found.span(group), _kind(name), True


def told(text: str, start: int) -> Found | None:
    """The value that a sentence gives away: "the password for staging is ..."."""
    if start > 0 and (text[start - 1].isalnum() or text[start - 1] in "_-.$/"):
        return None
    words = _TOLD_WORDS.match(text, start, start + 400)
    if words is not None:
        return *words.span("value"), "PASSWORD", False
    found = _TOLD.match(text, start, start + 400)
    if found is None:
        return None
    value = found["value"].rstrip(".,;:!?)]}*") if not found["open"] else found["value"].rstrip("*")
    weak = (
        not found["verb"].strip()
        or found["verb"].strip().lower() in {"to", "as", "-", "are"}
        or found["name"].lower() in {"login", "pass"}
    )
    if not _reads_told(value, is_quoted=bool(found["open"]), is_weak=weak):
        return None
    at = found.start("value")
    return at, at + len(value), _kind(found["name"]), False


def _reads_told(value: str, *, is_quoted: bool, is_weak: bool) -> bool:
    if len(value) < 4 or value.lower() in _DULL or _NOT_A_VALUE.match(value) or _HARMLESS.fullmatch(value):
        return False
    if any(sign in value for sign in "(){}[]<>|=;") or value.count("/") > 1 or value.count(".") > 1 or "::" in value:
        return not any(sign in value for sign in "(){}[]<>|;") and is_odd(re.sub(r"[^A-Za-z0-9]", "", value))
    digit = any(sign.isdigit() for sign in value)
    alpha = any(sign.isalpha() for sign in value)
    sign = any(sign in "!@#$%^&*?+~" for sign in value[:-1])
    if is_weak:
        return (
            len(value) >= 8
            and digit
            and alpha
            and (sign or is_odd(value) or (value.lower() != value and len(value) >= 8))
        )
    if (
        digit
        and alpha
        and not re.fullmatch(
            r"v?\d[\d.]*\w{0,3}|[A-Za-z]+[-_.]?\d{1,2}(?:\.\d+)*|\d+(?:st|nd|rd|th|ms|s|m|h|d|x|px|kb|mb|gb|k|bit|bits|chars)",
            value,
            re.IGNORECASE,
        )
    ):
        return True
    return (alpha and sign) or (is_quoted and len(value) >= 6 and "-" in value and len(value) > 14)


def is_secret_name(name: str) -> bool:
    """Whether a name alone (an environment variable, a key of an object) says that its value is secret."""
    word, rest = _keyword_of(name)
    return bool(word) and word not in _VAGUE and _ABOUT.search(rest) is None


def is_secret_value(name: str, value: str) -> bool:
    """Whether the value of a key with this name must go; both already decoded."""
    word, rest = _keyword_of(name)
    return bool(word) and _is_secret(name, rest, value, quoted=True, env=name.isupper(), keyword=word)


def _value(view: View, name_at: int, name: str, tail: re.Match[str]) -> tuple[int, int, bool] | None:
    """Where the value behind the separator stands, and whether in quotes."""
    text, at = view.text, tail.end()
    prefix = (
        1 if text[at : at + 1] in ("b", "f", "r", "u", "@", "$", "L") and text[at + 1 : at + 2] in ('"', "'") else 0
    )
    if text[at + prefix : at + prefix + 1] in ('"', "'", "`"):
        return _quoted(view, at + prefix)
    if tail["comma"] or tail["call"]:
        return None
    bare = _BARE.match(text, at)
    if bare is None:
        return None
    end = bare.end()
    whole = (
        text[end : end + 1] in ("\n", "", "\r") and _ENV_HEAD.search(text[max(0, name_at - 60) : name_at]) is not None
    )
    value = bare.group()
    if not whole or tail["sep"].strip() not in ("=", ":") or re.match(r"[\w.]+\(", value):
        cut = _CUT.search(value)
        if cut is not None and cut.start() == 0:
            return None
        end = at + cut.start() if cut is not None else end
    value = text[at:end]
    if value.lower() in _DULL or re.fullmatch(r"[A-Za-z_][\w.]*(?:\[[\w., |]*)?", value):
        again = _RETYPED.match(text, end)  # `password: str = "..."`
        if again is not None and text[again.end() : again.end() + 1] in ('"', "'"):
            return _quoted(view, again.end())
    if text[end : end + 1] in ("(", "["):
        return None
    end -= len(value) - len(value.rstrip(".,;:" if not whole else ",;"))
    return (at, end, False) if end > at else None


def _quoted(view: View, at: int) -> tuple[int, int, bool] | None:
    """The inside of the string that opens here; quotes that are escaped deeper belong to it."""
    text, quote = view.text, view.text[at]
    if text.startswith(quote * 3, at):
        end = text.find(quote * 3, at + 3, at + 2000)
        return (at + 3, end, True) if end > 0 and "\n" not in text[at:end] else None
    level = view.level(at) if view.parent is not None else 0
    place = at + 1
    for _ in range(64):
        end = text.find(quote, place, at + 2000)
        if end < 0:
            line = text.find("\n", at, at + 2000)
            return (
                (at + 1, line if line > 0 else min(len(text), at + 2000), True) if level == 0 and quote != "'" else None
            )
        if view.parent is None or view.level(end) <= level:
            break
        place = end + 1
    else:
        return None
    if text.count("\n", at, end) > 0:
        return None
    return at + 1, end, True


_VAGUE = frozenset({"key", "-key", "seed", "cipher", "jwt", "bearer", "hmac", "auth", "pass"})
"""Words that mean other things as often: their value must look random."""


def _is_secret(name: str, rest: str, value: str, *, quoted: bool, env: bool, keyword: str = "") -> bool:
    if len(value) < 3 or value.lower() in _DULL or len(set(value)) < 3 or _NOT_A_VALUE.match(value):
        return False
    if not quoted and len(value) > _LONGEST_READ:
        return True
    lowered = name.lower()
    if lowered in {"pwd", "oldpwd"} and value[:1] in "/~":
        return False
    strong = _STRONG.search(lowered) is not None and _ABOUT.search(rest) is None
    if strong and _JOINED_WORDS.fullmatch(value) and ("phrase" in lowered or (quoted and value.count("-") > 2)):
        return not any(word in value for word in _OF_CODE)
    if value.count(" ") >= 4:  # a sentence, unless it may be a passphrase
        return strong and "phrase" in lowered
    if strong or (env and keyword not in _VAGUE and _ABOUT.search(rest) is None):
        return _is_strong_value(lowered, value, quoted=quoted, env=env, strong=strong)
    if "token" in lowered and _UUID.fullmatch(value) and _ABOUT.search(rest) is None:
        return True
    if len(value) < 8 or _HARMLESS.fullmatch(value) or " " in value:
        return False
    if any(code.fullmatch(value) for code in (_CALL, _NAME_CHAIN)) or _DOTTED.search(value):
        return False
    atoms = re.split(r"[^A-Za-z0-9]+", value)
    odd = any(is_odd(atom) for atom in atoms) or is_odd(re.sub(r"[^A-Za-z0-9]", "", value))
    if _ABOUT.search(rest) is not None and _HEX_ONLY.fullmatch(value):
        return False
    if keyword in _VAGUE or _ABOUT.search(rest) is not None:
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
    if any(code.fullmatch(value) for code in (_CALL, _NAME_CHAIN)) or (_DOTTED.search(value) and not quoted):
        return env and not _NAME_CHAIN.fullmatch(value)
    if _HARMLESS.fullmatch(value) and not (env or value.isdigit() or _UUID.fullmatch(value)):
        return False
    return env or quoted or _IDENTIFIER.fullmatch(value) is None


_JOINED_WORDS = re.compile(r"[A-Za-z]{3,12}(?:([-._])[A-Za-z]{3,12})(?:\1[A-Za-z]{3,12}){1,10}")
"""`correct-horse-battery`: a passphrase, where the name says so."""
_OF_CODE = ("self.", "config", "phrase", "password", "secret", "args.", "process.", "settings", "getenv", "environ")
_HEX_ONLY = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DOTTED = re.compile(r"\(\)|->|\?\.|\w\(|\[\d|\)\.")
_SERIAL = re.compile(
    r"[A-Za-z]+(?:[-_./:][A-Za-z]+)*[-_./:]?\d{1,4}(?:[-_.][A-Za-z]+)?|[a-z]+\d?(?:[-_.][a-z0-9]{1,12})+"
)


def _kind(name: str) -> str:
    lowered = name.lower()
    return next((kind for word, kind in _KINDS if word in lowered), "SECRET")
