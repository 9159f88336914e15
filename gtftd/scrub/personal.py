"""People and machines in a text: e-mail addresses, network addresses, home folders, telephone numbers."""

# ruff: noqa: E501  (tables of patterns)
from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network

Found = tuple[int, int, str, bool]
"""Start, end, kind, and whether it is certain."""

_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+'-"
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}(?P<top>[A-Za-z]{2,24})(?![A-Za-z0-9_-])")
_NO_TOP = frozenset({
    "service", "socket", "timer", "target", "mount", "slice", "js", "ts", "py", "go", "rs", "md", "json", "yaml", "yml",
    "toml", "html", "css", "png", "svg", "jpg", "parametrize", "fixture", "setter", "getter", "property", "mark", "cpp",
    "java", "rb", "sh", "tsx", "jsx", "lock", "txt", "log", "git", "domain", "spam", "tld",
})  # fmt: skip
_NOBODY = re.compile(r"(?:git|noreply|no-reply|donotreply|root|postmaster|hg|svn|npm)", re.IGNORECASE)
_EXAMPLE = re.compile(
    r"(?:.*\.)?(?:(?:example|foo|bar|baz|domain|mydomain|yourdomain|hostname)\..*|[^.]*\.?(?:invalid|example|test|localhost))",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^\s/@\"'<>?]{0,80}:\Z")
_IPV4 = re.compile(r"(?<![\w.+-])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]*\d|::)[0-9A-Fa-f:]{4,39}(?:\d{1,3}\.\d{1,3}\.\d{1,3})?(?![\w:])"
)
_VERSION_BEFORE = re.compile(
    r"(?:version|release|ver\.?|rev|build|\bv|[=~><!]=|[~^]|section|§|#+|chapter|[Ff]igure|-)[\s\"':=]{0,3}\Z",
    re.IGNORECASE,
)
_ADDRESS_BEFORE = re.compile(
    r"(?<![A-Za-z])(?:ip|host|addr(?:ess)?|server|from|to|ssh|ping|curl|at|on|peer|client|remote|connect\w*|dns|gateway|bind|listen|node|//)\W{0,4}\Z|@\Z|(?<![=<>!~])=\Z",
    re.IGNORECASE,
)
_NOBODY_V4 = ("1.2.3.4", "255.", "192.0.2.", "198.51.100.", "203.0.113.", "224.0.0.")
_NOBODY_V6 = IPv6Network("2001:db8::/32")
"""Addresses for documentation, masks, and what everybody listens to."""
_HOME = re.compile(
    r"(?P<before>/home/|/Users/|[\\/]{1,2}Users[\\/]{1,2}|(?<![A-Za-z0-9])-home-|(?<![A-Za-z0-9])-Users-)(?P<user>[A-Za-z0-9_][A-Za-z0-9._]{0,63})"
)
_SHARED = frozenset({
    "shared", "linuxbrew", "runner", "public", "default", "user", "users", "user1", "username", "you", "me", "name", "user_name",
    "your", "yourname", "alice", "bob", "john", "joe", "jdoe", "johndoe", "foo", "bar", "test", "example", "guest", "somebody",
    "someone", "ubuntu", "debian", "vagrant", "docker", "node", "jenkins", "travis", "root", "app", "ci", "vscode", "work", "self",
})  # fmt: skip
"""Names of nobody in particular."""
_PHONE = re.compile(
    r"(?P<world>(?<![\w+.])\+\d{1,3}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,5}(?![\w.-]?\d))"
    r"|(?P<us>(?<![\w.(+/-])(?:1[-. ])?\(?[2-9]\d{2}\)?[-. ]{1,2}[2-9]\d{2}[-. ]\d{4}(?![\w-]|\.\d))"
    r"|(?P<zero>(?<![\w.:/+-])\(?0\d{1,4}\)?(?:[ /-]{1,3}\d{2,4}){1,4}\d{0,5}(?![\w-]|[.:]\d))"
    r"|(?P<named>(?i:tel|phone|mobile|cell|fax|whatsapp|sms|call)[.: ]{1,3}(?P<digits>[+(]?\d[\d ().-]{6,18}\d)(?![\w]))"
)


def email(text: str, at: int, end: int) -> Found | None:
    """An address of a person; `git@host` and reserved domains stay."""
    at += 1
    head = text[max(0, at - 128) : at]
    start = at - (len(head) - len(head.rstrip(_LOCAL)))
    while start < at and text[start] in "'.%+-":
        start += 1
    domain = _DOMAIN.match(text, at + 1) if start < at else None
    if domain is None or domain["top"].lower() in _NO_TOP or _NOBODY.fullmatch(text[start:at]):
        return None
    if _EXAMPLE.fullmatch(domain.group()) or text[max(0, start - 3) : start] == "://":
        return None
    if text[start - 1 : start] == ":" and _USERINFO.search(text, max(0, start - 96), start):  # a password and a host
        return None
    return start, domain.end(), "EMAIL", True


def ipv4(text: str, start: int, _end: int) -> Found | None:
    """An address of a machine; loopback, masks, and what reads as a version or a section number stay."""
    found = _IPV4.match(text, start)
    if found is None:
        return None
    said = found.group()
    try:
        address = IPv4Address(said)
    except AddressValueError:
        return None
    if address.is_loopback or address.is_unspecified or address.is_multicast or said.startswith(_NOBODY_V4):
        return None
    before, after = text[max(0, start - 16) : start], text[found.end() : found.end() + 2]
    told = _ADDRESS_BEFORE.search(before) is not None or (after[:1] in (":", "/") and after[1:].isdigit())
    if not told and _VERSION_BEFORE.search(before):
        return None
    if all(int(part) < 32 for part in said.split(".")) and int(said.split(".")[0]) < 10 and not told:
        return None
    return *found.span(), "IPV4", True


def ipv6(text: str, start: int, _end: int) -> Found | None:
    """An address of a machine; loopback and what only looks like one (`a::b`, times) stays."""
    head = text[max(0, start - 40) : start]
    start -= len(head) - len(head.rstrip("0123456789abcdefABCDEF:"))
    if _end - start > 48:
        return None
    found = _IPV6.match(text, start)
    if found is None:
        return None
    said = found.group()
    said = said if said.endswith("::") else said.rstrip(":")
    try:
        address = IPv6Address(said)
    except AddressValueError:
        return None
    if address.is_loopback or address.is_unspecified or address.is_multicast or address in _NOBODY_V6 or len(said) < 6:
        return None
    if not any(sign.isdigit() for sign in said):
        return None
    return start, start + len(said), "IPV6", True


def home(text: str, start: int, _end: int) -> Found | None:
    """The name in `/home/ada/x`: the path keeps its shape; so does the folder that Claude Code makes of it."""
    found = _HOME.search(text, start, start + 96)
    if found is None:
        return None
    user = found["user"].rstrip(".")
    if user.lower() in _SHARED or not user:
        return None
    return found.start("user"), found.start("user") + len(user), "USER", True


def phone(text: str, start: int, _end: int) -> Found | None:
    """A telephone number in an international or a common national form; dates, ids and versions stay."""
    place = start if text[start] in "+(tpmcfwsTPMCFWS0123456789" else start + 1
    found = _PHONE.match(text, place)
    if found is None:
        return None
    group = "digits" if found["named"] else "world" if found["world"] else "us" if found["us"] else "zero"
    said = found[group]
    digits = sum(sign.isdigit() for sign in said)
    parted = any(sign in " ().-/" for sign in said[1:])
    if group == "world" and (
        digits < 9 or digits > 15 or (not parted and (digits < 10 or text[place - 1 : place] in ("\n", "")))
    ):
        return None
    if group == "zero" and not (9 <= digits <= 12 and _grouped(said) and 2 * said.count("0") < digits):
        return None
    if group == "us" and not (
        10 <= digits <= 11 and ("-" in said) + ("." in said) < 2 and any(sign in "(-." for sign in said)
    ):
        return None
    if group == "digits" and not 7 <= digits <= 15:
        return None
    return *found.span(group), "PHONE", group == "world" and parted


def _grouped(said: str) -> bool:
    """A national number starts with a zero and an area; a list of numbers, a date or a time does not read so."""
    parts = re.findall(r"\d+", said)
    if len(parts) == 5 and all(len(part) == 2 for part in parts):
        return "-" not in said
    return len(parts) in (2, 3) and len(parts[0]) >= 3 and len(parts[-1]) >= 3
