"""What stands where a secret stood: typed, keyed, and such that the text around it still parses."""

# ruff: noqa: RUF001  (the prompts of shells)
from __future__ import annotations

import hashlib
import hmac
import re

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,39}:[0-9a-f]{6}>")
"""Matches one placeholder."""

_JSON_KEY = re.compile(r"(?P<quote>\\*\")\s{0,8}:\s{0,8}\Z|[\[,]\s{0,8}\Z")
_SPACED = re.compile(r"[A-Za-z0-9_\]\"')]\s*(?:=|:=|=>|==|!=)\s+\Z|[(,]\s*\Z")
_TIGHT = re.compile(r"(?:^|[\s;&|(])(?:[A-Za-z_][A-Za-z0-9_.-]*|--?[A-Za-z][A-Za-z0-9_-]*)=\Z")
_COMMAND = re.compile(
    r"\s*(?:[$#❯%>+]\s+)?(?:sudo\s+)?(?:export|curl|wget|git|gh|docker|echo|printf|mysql|psql|redis-cli|ssh|sshpass|npm|pip|kubectl|aws|gcloud"
    r"|set|env|bd|gt|claude|http|helm|mariadb|vault|openssl|mongo|mongosh|login|[A-Z_][A-Z0-9_]*=\S*|\./\S+|[a-z][a-z0-9_-]*(?=\s[^\n]*\s--?[a-z]))\b"
)
_WORD_ENDS = ("", "\n", " ", ";", "&", "|", ")", "\t", "\r", "/", ":", "@", "?", ",", ".")
_NUMBER = re.compile(r"[+-]?[0-9][0-9_.eE+-]*|0[xX][0-9A-Fa-f]+")


def digest_of(key: bytes, value: str) -> str:
    """Keyed: nobody without the key can test a guess."""
    return hmac.new(key, value.encode(errors="replace"), hashlib.sha256).hexdigest()


def placeholder(kind: str, digest: str) -> str:
    """`<GITHUB_TOKEN:3f09ac>`."""
    return f"<{kind}:{digest[:6]}>"


def quote_for(text: str, start: int, end: int, *, is_shell: bool) -> str:
    """The quote that a placeholder needs on both sides here, where the value stood bare; mostly none."""
    line = text.rfind("\n", max(0, start - 400), start) + 1
    if line == 0 and start > 400:
        line = start - 400
    before, after = text[line:start], text[end : end + 1]
    value = text[start:end]
    if before[-1:] in ' :,[\t"' and after in (",", "}", "]", "\n", ""):
        key = _JSON_KEY.search(before)
        if key is not None:
            return key["quote"] or ('"' if _NUMBER.fullmatch(value) and not _in_quotes(before) else "")
    quote = ""
    if _NUMBER.fullmatch(value) and _SPACED.search(before[-80:]):
        quote = '"'
    elif (
        is_shell
        or _COMMAND.match(before)
        or (before.endswith("=") and after in _WORD_ENDS and _TIGHT.search(before[-80:]))
    ):
        quote = "'"
    return "" if quote and _in_quotes(before) else quote


def _in_quotes(before: str) -> bool:
    """Whether a quote is open at the end of this piece of a line."""
    if '"' not in before and "'" not in before and "`" not in before:
        return False
    is_open = ""
    skip = False
    for place, sign in enumerate(before):
        if skip:
            skip = False
        elif sign == "\\":
            skip = True
        elif is_open:
            is_open = "" if sign == is_open else is_open
        elif sign in '"`' or (
            sign == "'" and not (place > 0 and before[place - 1].isalpha() and before[place - 1] not in "bfru")
        ):
            is_open = sign
    return bool(is_open)
