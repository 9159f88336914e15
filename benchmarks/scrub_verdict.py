"""By which rules a redaction in clean text counts as right or wrong.

They were written before the scrubber was looked at, and amended after looking at cuts: what a version, a hash or a
sample is was narrowed then.

Right is what a careful person would not publish: somebody's address, a key, a password that stands as one, a home
directory with a person's name, an IP address that is one. Wrong is everything else: versions, hashes, identifiers,
words, examples that say they are examples.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass

_EMAIL = re.compile(r"[\w.+%&'*/=^~-]+@(?:[\w-]+\.)+[A-Za-z]{2,}")
_EXAMPLE_DOMAIN = re.compile(
    r"(?:^|[.@])(?:(?:example|test|invalid|localhost|domain|foo|bar|host|server|mydomain|acme)\."
    r"|(?:example|test|invalid|localhost|domain)$)",
    re.I,
)
"""`host` and `foo` are endings that people do have addresses under; before the ending they stand for nobody."""
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_TYPED = re.compile(
    r"^(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,}|glpat-[\w-]{20,}|A(?:KIA|SIA)[A-Z2-7]{16}|xox[abprs]-[\w-]{20,}"
    r"|[sr]k_(?:live|test)_\w{16,}|AIza[\w-]{35}|sk-[\w-]{20,}|npm_\w{36}|pypi-[\w-]{50,}|hf_[A-Za-z]{34}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?|SG\.[\w-]{16,}\.[\w-]{16,}|\$6\$\S{40,}|AGE-SECRET-KEY-1\w+)"
)
_SAMPLE = re.compile(
    r"example|xxxx|\.\.\.|\*\*\*|<|\{|\$|%s|%\(|change.?me|your|dummy|redacted|placeholder|0123456789|abcdef|(.)\1{5}",
    re.I,
)
_SECRET_KEY = re.compile(
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|auth(?:orization)?|bearer|basic|credential|private[_-]?key"
    r"|cookie|session(?:id)?)[\w\]\"'-]{0,20}\s*(?::=|=>|=|:|\s)\s*(?:[bBrRfFuU]{0,2}[\"'`(\[]*)?$",
    re.I,
)
_URL_USER = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/@\"'<>]{0,80}$", re.I)
_HASH = re.compile(
    r"^(?:sha\d+[-=:])?(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})$", re.I
)
_UUID = re.compile(r"^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$", re.I)
_VERSION_BEFORE = re.compile(
    r"(?:(?:version|release|\bv|\br|section|chapter)\W{0,6}|[=<>~!]=\s*[\"']?|[\^~]|[a-z]-|\d\.)$", re.I
)
_HOME = re.compile(r"(?:/home/|/Users/|[A-Z]:\\+Users\\+)([\w.-]+)")
_NOBODY = {
    "user",
    "users",
    "username",
    "you",
    "me",
    "foo",
    "bar",
    "user1",
    "runner",
    "ubuntu",
    "debian",
    "root",
    "node",
    "app",
    "vagrant",
    "docker",
    "jenkins",
    "ci",
    "test",
    "example",
    "somebody",
    "someone",
    "name",
    "shared",
    "public",
    "vscode",
    "work",
    "self",
    "jdoe",
    "johndoe",
    "joe",
    "john",
    "alice",
    "bob",
    "guest",
    "travis",
}
_PHONE = re.compile(r"^\+?[\d(][\d\s().-]{6,18}\d$")
_PHONE_BEFORE = re.compile(r"(?:phone|tel|fax|call|mobile|cell)\W{0,12}$", re.I)


@dataclass(frozen=True)
class Verdict:
    right: bool
    name: str


def _yes(name: str) -> Verdict:
    return Verdict(True, name)


def _no(name: str) -> Verdict:
    return Verdict(False, name)


def judge(span: str, before: str, after: str) -> Verdict:
    """What was cut out, with about 200 characters on each side."""
    text = span.strip(" \t\r\n\"'`<>()[],;")
    line = before.rpartition("\n")[2]
    if not text:
        return _no("blank")
    if _PEM.search(before[-200:] + span[:100]):
        return _yes("private key block") if re.search(r"[A-Za-z0-9+/]{40}", span) else _no("key block without a key")
    if _says_address(text):
        return _yes("e-mail address in base64")
    if "@" in text or after.startswith("@"):
        found = _email_or_userinfo(text, line, after)
        if found:
            return found
    address = _address(text, line, after)
    if address:
        return address
    if home := _HOME.search(before[-10:] + text) or _HOME.search(text):
        return _no("home of nobody") if home[1].lower() in _NOBODY else _yes("home path")
    if _TYPED.match(text):
        return _no("documented example of a token") if _SAMPLE.search(text) else _yes("token of a published form")
    if _URL_USER.search(line):
        return _no("piece of an address")
    if _SECRET_KEY.search(line[-80:]):
        return _in_key_context(text)
    return _by_shape(text, line)


def _says_address(text: str) -> bool:
    """Whether base64, perhaps cut at any place and folded, says the address of somebody."""
    run = re.sub(r"[\s'\"\\]+(?:b?['\"])?", "", text)
    if not re.fullmatch(r"[A-Za-z0-9+/]{24,}={0,2}", run):
        return False
    for start in range(4):
        part = run[start:].rstrip("=")
        part = part[: len(part) // 4 * 4]
        said = base64.b64decode(part).decode("ascii", "replace")
        found = _EMAIL.search(said) if said.count("\ufffd") * 8 < len(said) else None
        if found and not _EXAMPLE_DOMAIN.search(found.group().partition("@")[2]):
            return True
    return False


def _email_or_userinfo(text: str, line: str, after: str) -> Verdict | None:
    if _URL_USER.search(line) and (after.startswith("@") or "@" in text):
        secret = text.rpartition("@")[0].rpartition(":")[2] if "@" in text else text
        return _no("sample in a URL") if _is_word(secret) or _SAMPLE.search(secret) else _yes("credential in a URL")
    address = _EMAIL.search(text) or (_EMAIL.match(text + after.split(maxsplit=1)[0]) if after[:1] == "@" else None)
    if address is None:
        return None
    name = address.group()
    if re.search(r"(?:^|[\s\"'])git@", " " + name) or re.search(r"@\d[\d.]*(?:-\w+)?$", name):
        return _no("not an e-mail address")
    return _no("e-mail address of nobody") if _EXAMPLE_DOMAIN.search(name.partition("@")[2]) else _yes("e-mail address")


def _address(text: str, line: str, after: str) -> Verdict | None:
    bare = text.strip("[]").partition("/")[0].partition("%")[0]
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+:\d+", bare):
        bare = bare.rpartition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return _no("no IP address") if re.fullmatch(r"\d+(?:\.\d+){3,}", bare) else None
    if address.version == 4 and (_VERSION_BEFORE.search(line[-30:]) or re.match(r"\.\d|[-\w]", after)):
        return _no("version or number taken for IPv4")
    if address.is_loopback or address.is_unspecified or address.is_multicast or bare in ("255.255.255.255", "1.2.3.4"):
        return _no("IP address of nobody")
    documentation = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:", "2001:DB8:", "2001:0db8:")
    return _no("IP address of nobody") if bare.startswith(documentation) else _yes(f"IPv{address.version} address")


def _is_word(text: str) -> bool:
    """A word or an identifier: letters, what joins them, and hardly any digit."""
    if re.fullmatch(r"[A-Z]+\d{0,3}(?:_[A-Z]+\d{0,3})+", text) or re.fullmatch(
        r"[a-z]+\d{0,2}(?:_[a-z]+\d{0,2})+", text
    ):
        return True
    return bool(re.fullmatch(r"[A-Za-z]+(?:[_.\- ][A-Za-z]+)*\d{0,2}", text)) or len(set(text)) < 4


def _in_key_context(text: str) -> Verdict:
    if _SAMPLE.search(text):
        return _no("sample value of a key")
    if re.search(r"[()\[\]{};]|\w\.\w+\b(?!\d)", text) or _is_word(text):
        return _no("word or expression after a key")
    if (_HASH.match(text) and len(text) in (32, 40, 64)) or re.search(r"\d", text) or re.search(r"[^\w\s]", text):
        return _yes("value of a secret's key")
    return _no("word or expression after a key")


def _by_shape(text: str, line: str) -> Verdict:
    if _HASH.match(text):
        return _no("hash")
    if _UUID.match(text):
        return _no("uuid")
    if re.search(r"sha\d{3}[-=:]", line[-20:] + text[:10]):
        return _no("integrity hash")
    if _PHONE.match(text):
        by_form = text.startswith("+") or re.match(r"\(?\d{3}\) ?\d{3}-\d{4}", text)
        return _yes("phone number") if by_form or _PHONE_BEFORE.search(line) else _no("number taken for a phone")
    if re.fullmatch(r"[0-9a-fA-F\W]+", text):
        return _no("hex or digits")
    if _is_word(text):
        return _no("word or identifier")
    if re.fullmatch(r"[A-Za-z0-9+/=_-]{20,}", text):
        return _no("base64 or long identifier")
    return _no("other text")
