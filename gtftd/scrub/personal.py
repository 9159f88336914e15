"""People and machines in a text: e-mail addresses, network addresses, home folders, names of users and hosts."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

Replace = Callable[[str, str], str]
"""Kind and value in, placeholder out."""

_LOCAL = re.compile(r"[A-Za-z0-9._%+-]")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}(?P<top>[A-Za-z]{2,24})(?![A-Za-z0-9-])")
_NO_TOP = frozenset({
    "service", "socket", "timer", "target", "mount", "slice", "js", "ts", "py", "go", "rs", "md", "json", "yaml", "yml",
    "toml", "html",
})  # fmt: skip
_NOBODY = re.compile(r"(?:git|noreply|no-reply|donotreply|root|postmaster)", re.IGNORECASE)
_EXAMPLE = re.compile(
    r"(?:.*\.)?(?:example\.(?:com|org|net)|[^.]*\.?(?:invalid|example|test|localhost))", re.IGNORECASE
)
_IPV4 = re.compile(r"(?<![\w.+-])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]*\d|::)[0-9A-Fa-f:]{4,39}(?![\w:])")
_VERSION_BEFORE = re.compile(r"(?:version|release|\bv|[=~^><@]|section|§|#+)[\s\"':=]{0,3}\Z", re.IGNORECASE)
_HOME = re.compile(
    r"(?P<before>/home/|/Users/|\\\\?Users\\\\?|-home-|-Users-)(?P<user>[A-Za-z0-9_][A-Za-z0-9._]{0,63})"
)
_SHARED = frozenset({"Shared", "linuxbrew", "runner"})


def replace_emails(text: str, replace: Replace) -> str:
    """Addresses of people; `git@host` and reserved domains stay."""
    if "@" not in text:
        return text
    pieces: list[str] = []
    done = 0
    at = text.find("@")
    while at >= 0:
        start = at
        while start > done and at - start < 128 and _LOCAL.match(text[start - 1]):
            start -= 1
        domain = _DOMAIN.match(text, at + 1) if start < at else None
        if domain is not None and _is_person(text[start:at], domain):
            pieces += (text[done:start], replace("EMAIL", text[start : domain.end()].lower()))
            done = domain.end()
        at = text.find("@", max(at + 1, done))
    return "".join((*pieces, text[done:]))


def _is_person(local: str, domain: re.Match[str]) -> bool:
    if domain["top"].lower() in _NO_TOP or _NOBODY.fullmatch(local):
        return False
    return _EXAMPLE.fullmatch(domain.group()) is None


def replace_addresses(text: str, replace: Replace) -> str:
    """Addresses of machines; loopback, masks, and what reads as a version or a section number stay."""
    if "." in text:
        text = _IPV4.sub(lambda found: _ipv4(found, replace), text)
    if "::" in text or text.count(":") >= 7:
        text = _IPV6.sub(lambda found: _ipv6(found, replace), text)
    return text


def _ipv4(found: re.Match[str], replace: Replace) -> str:
    said = found.group()
    try:
        address = IPv4Address(said)
    except AddressValueError:
        return said
    if address.is_loopback or address.is_unspecified or said.startswith("255."):
        return said
    before = found.string[max(0, found.start() - 16) : found.start()]
    after = found.string[found.end() : found.end() + 2]
    if _VERSION_BEFORE.search(before):
        return said
    small = all(int(part) < 32 for part in said.split("."))
    if small and int(said.split(".")[0]) < 10 and not (after[:1] in (":", "/") and after[1:].isdigit()):
        return said
    return replace("IPV4", said)


def _ipv6(found: re.Match[str], replace: Replace) -> str:
    said = found.group()
    try:
        address = IPv6Address(said.rstrip(":") if not said.endswith("::") else said)
    except AddressValueError:
        return said
    if address.is_loopback or address.is_unspecified or not any(sign.isdigit() for sign in said):
        return said
    return replace("IPV6", said)


def replace_homes(text: str, replace: Replace) -> str:
    """`/home/ada/x` keeps its shape and loses its name; so does the folder that Claude Code makes of it."""
    if "/home/" not in text and "Users" not in text and "-home-" not in text:
        return text

    def hidden(found: re.Match[str]) -> str:
        user = found["user"].rstrip(".")
        if user in _SHARED:
            return found.group()
        return found["before"] + replace("USER", user) + found["user"][len(user) :]

    return _HOME.sub(hidden, text)
