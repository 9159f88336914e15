"""Secrets that only their name gives away: `DB_PASSWORD=hunter2`, `"token": "..."`, `--api-key ...`, "the password is ..."."""

# ruff: noqa: E501, RUF001  (tables of patterns; the quotes of prose)
from __future__ import annotations

import re

from gtftd.scrub.shapes import is_odd
from gtftd.scrub.values import (
    ABOUT,
    DULL,
    HARMLESS,
    KEYWORD,
    NAME_CHAIN,
    NOT_A_VALUE,
    STRONG,
    VAGUE,
    is_secret,
    keyword_of,
    kind_of,
)
from gtftd.scrub.views import View

Found = tuple[int, int, str, bool]
"""Start, end, kind, and whether it is certain."""


_TAIL = re.compile(
    r"(?P<rest>[A-Za-z0-9_.-]{0,40})(?P<close>[\"'`]{0,5})\]?(?P<bold>\*{0,2}_{0,2}`?)"
    r"(?P<sep>[ \t]{0,8}(?:=>|:=|={1,3}|:(?!:)|(?<=[ \t`*])\|(?=[ \t]))\s{0,8}|(?P<comma>, ?)(?=[\"'])|(?P<xml>>)|(?P<call>\()(?=[\"'`]))(?P<more>\*{0,2}[ \t]{0,4})"
)


_ATTRIBUTE = re.compile(r"<[\w:.-]{1,40}\s[^<>\n]{0,60}=[\"']\Z")


_BARE = re.compile(r"[^\s\"'`<>\0]{1,2000}")


_CUT = re.compile(r"[,;&|)}\]]")


_ENV_HEAD = re.compile(
    r"(?:^|[\n;&|])[ \t]*(?:(?:export|set|ENV|ARG|env|declare -x|-e|--env|-D|\$env:|- |\+ ?|\d+[:|→\t] ?)[ \t]*)*\Z"
)


_SHELL_QUOTE = "'\"'\"'"
"""How a shell writes one quote inside of others of its kind."""
_RETYPED = re.compile(r"[ \t]{0,4}=[ \t]{0,4}")


_KEY_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"


_PRIVATE_NAME = re.compile(r"__?[A-Za-z]\w*")


_NAME_LIKE = re.compile(r"[A-Za-z]+\d{0,4}(?:[_.-][A-Za-z]+\d{0,4})*")


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
    keyword = KEYWORD.search(text[keyword_at : keyword_at + 24].lower())
    if keyword is None:
        return None
    keyword_at += keyword.start()
    head = text[max(0, keyword_at - 40) : keyword_at]
    start = keyword_at - (len(head) - len(head.rstrip(_KEY_CHARS)))
    if keyword.group() == "key" and not _ends_word(text, keyword_at + 3):
        return None
    tail = _TAIL.match(text, keyword_at + len(keyword.group()))
    if tail is None or (tail["xml"] and not _in_tag(text, start)) or (tail["comma"] and not tail["close"]):
        return None
    name = text[start : tail.end("rest")]
    word, rest = keyword_of(name)
    if tail["call"] and (name.isupper() or not re.search(r"(?i)set|with|add|use|login|auth|connect|password\Z", name)):
        return None
    place = _value(view, start, name, tail)
    if place is None:
        return None
    at, end, quoted = place
    value = text[at:end]
    if (tail["comma"] or "|" in (tail["sep"] or "")) and _is_wordy(value):
        return None
    if not quoted and _is_bare_word(text, (start, name), (at, value), tail):
        return None
    env = name.isupper() and tail["sep"] == "="
    if not is_secret(name, rest, value, quoted=quoted, env=env, keyword=word):
        return None
    return at, end, kind_of(name), STRONG.search(name.lower()) is not None


def _is_bare_word(text: str, named: tuple[int, str], found: tuple[int, str], tail: re.Match[str]) -> bool:
    """Whether what stands without quotes behind a name is a word of a sentence or of code."""
    (start, name), (at, value) = named, found
    bare = value.strip("*_`")
    if name.lower().endswith(value.lower()) or _PRIVATE_NAME.fullmatch(value) or (value[0] == "@" and tail["xml"]):
        return True
    if not bare.isalpha():
        return False
    if value != bare or (bare.islower() and tail["sep"] == ":" and text[start - 1 : start] in ("'", '"')):
        return True
    is_word = bare.islower() or bare.istitle() or (bare.isupper() and len(bare) < 5)
    return is_word and not _stands_alone(text, start, at + len(value))


def _ends_word(text: str, end: int) -> bool:
    """Whether a word ends here: there is no key in `keyboard` and `KEYCODE`, but one in `keyValue` and `keys`."""
    last, following = text[end - 1 : end], text[end : end + 1]
    return not following.isalpha() or following in "sS" or (following.isupper() and last.islower())


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
    word, rest = keyword_of(name)
    if not word or value[:1] in "/~" or (value.isalpha() and value.islower() and group == "bare" and len(value) < 9):
        return None
    if not is_secret(name, rest, value, quoted=False, env=False, keyword=word):
        return None
    return *found.span(group), kind_of(name), True


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
    return at, at + len(value), kind_of(found["name"]), False


def _reads_told(value: str, *, is_quoted: bool, is_weak: bool) -> bool:
    if len(value) < 4 or value.lower() in DULL or NOT_A_VALUE.match(value) or HARMLESS.fullmatch(value):
        return False
    if any(sign in value for sign in "(){}[]<>|=;") or value.count("/") > 1 or value.count(".") > 1 or "::" in value:
        return not any(sign in value for sign in "(){}[]<>|;") and is_odd(re.sub(r"[^A-Za-z0-9]", "", value))
    digit = any(sign.isdigit() for sign in value)
    alpha = any(sign.isalpha() for sign in value)
    sign = any(sign in "!@#$%^&*?+~" for sign in value[:-1])
    if is_weak:
        return (
            len(value) >= 8
            and _CONSTANT.fullmatch(value) is None
            and NAME_CHAIN.fullmatch(value) is None
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


_CONSTANT = re.compile(r"[A-Z0-9]+(?:[_-][A-Z0-9]+)+|[A-Z]+(?:_[A-Za-z0-9]+)+")


def is_secret_name(name: str) -> bool:
    """Whether a name alone (an environment variable, a key of an object) says that its value is secret."""
    word, rest = keyword_of(name)
    return bool(word) and word not in VAGUE and ABOUT.search(rest) is None


def is_secret_value(name: str, value: str) -> bool:
    """Whether the value of a key with this name must go; both already decoded."""
    word, rest = keyword_of(name)
    return bool(word) and is_secret(name, rest, value, quoted=True, env=name.isupper(), keyword=word)


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
    if value.lower() in DULL or re.fullmatch(r"[A-Za-z_][\w.]*(?:\[[\w., |]*)?", value):
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
    for mark in (quote * 3, _SHELL_QUOTE):
        if text.startswith(mark, at):
            end = text.find(mark, at + len(mark), at + 2000)
            return (at + len(mark), end, True) if end > 0 and "\n" not in text[at:end] else None
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
