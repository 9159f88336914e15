"""Every rule of the scrubber finds what it is for, and leaves what only begins like it."""

from __future__ import annotations

import random
import re
import string
from importlib import import_module
from pkgutil import iter_modules
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from detect_secrets import plugins

from gtftd.scrub import Scrubber
from gtftd.scrub.heads import head_of
from gtftd.scrub.rules import Rule, all_rules
from gtftd.scrub.rules_detect import _patterns

SCRUBBER = Scrubber({}, key=b"a key for tests, of 32 bytes....")
PRINTABLE = string.ascii_letters + string.digits + "-_"
GIVEN = {
    # values that must add up, and patterns with a look ahead
    "card": ["4539 1488 0343 6467", "4539148803436467", "5425233430109903"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "FR1420041010050500013M02606"],
    "url.password": ["https://bob:s3cr3tPw@host.dev", "redis://:q9Xk2mZ@cache:6379/0", "amqp://u:p%40ss1x@mq/x"],
    "url.token": [
        "https://a1b2c3d4e5f6a7b8c9@host.dev",
        "git://Zk3mQ8vR2xT7pL9wB4nD@host.dev",
        "https://tok-9f8e7d6c5b4a39@host",
    ],
    "smb.user": ["smb -U bob%s3cr3tPw", "smb -Uann%Zk3mQ8vR", "smb -U corp/bob%hunter22"],
    "der.body": [
        "MIIEvQIBADAN" + "aB3xQ9kZ7mR2" * 6,
        "MIIEpAIBAAKC".replace("AAKC", "AB1I") + "aB3xQ9kZ7mR2" * 6,
        "MHcCAQEE" + "aB3xQ9kZ7mR2" * 6,
    ],
    "shadow": [
        "$6$rounds$" + "aB3xQ9kZ7mR2" * 4,
        "$2b$12$" + "aB3xQ9kZ7mR2" * 4,
        "$argon2id$v=19$" + "aB3xQ9kZ7mR2" * 4,
    ],
    "ansible.vault": [
        "$ANSIBLE_VAULT;1.1;AES256\n" + "3961653162" * 8,
        "$ANSIBLE_VAULT;1.2;AES256;dev\n" + "6238336430" * 8,
        "$ANSIBLE_VAULT;1.1;AES256\n" + "\n".join(["3961653162" * 8] * 3),
    ],
    "htpasswd": ["{SSHA}" + "aB3xQ9kZ7mR2" * 3, "{SHA}" + "Zk3mQ8vR2xT7pL9wB4nD" * 2, "{SSHA256}" + "aB3xQ9kZ7mR2" * 4],
    "phrase.quoted": [
        'passphrase: "plum anvil seventeen kestrel"',
        "GPG_PASSPHRASE='a-b-c d'",
        'phrase is "otter ra\nven fig"',
    ],
    "phrase.joined": [
        "PASSPHRASE=otter.raven.fig",
        "passphrase: plum_anvil_kes\n  trel_otter",
        "phrase=otter-raven-fig",
    ],
    "basic": ["Basic Ym9iOnMzY3IzdDEyMw==", "Basic YWRhOmxvdmVsYWNlMTg0Mw==", "Basic cm9vdDpodW50ZXIy"],
}
"""What a sampler of patterns cannot make."""
RULES = all_rules()


def sampled(source: str, rng: random.Random) -> str:
    """One text that the pattern matches; open ends are short."""
    return "".join(_piece(code, argument, rng) for code, argument in parser.parse(source))


def _piece(code: object, argument: Any, rng: random.Random) -> str:
    match code:
        case codes.LITERAL:
            return chr(argument)
        case codes.NOT_LITERAL | codes.ANY:
            return rng.choice(PRINTABLE)
        case codes.IN:
            return rng.choice(_signs(argument))
        case codes.SUBPATTERN:
            return "".join(_piece(*item, rng) for item in argument[-1])
        case codes.BRANCH:
            return "".join(_piece(*item, rng) for item in rng.choice(argument[1]))
        case codes.MAX_REPEAT | codes.MIN_REPEAT | codes.POSSESSIVE_REPEAT:
            least, most, inner = argument
            times = min(int(most), max(int(least), 24 if int(most) > 40 else int(least)))
            return "".join(_piece(*item, rng) for _ in range(times) for item in inner)
        case _:
            return ""


def _signs(parts: Any) -> str:
    signs: set[str] = set()
    negated = False
    for code, argument in parts:
        if code is codes.NEGATE:
            negated = True
        elif code is codes.LITERAL:
            signs.add(chr(argument))
        elif code is codes.RANGE:
            signs |= {chr(sign) for sign in range(argument[0], argument[1] + 1)}
        elif argument is codes.CATEGORY_DIGIT:
            signs |= set(string.digits)
        elif argument is codes.CATEGORY_SPACE:
            signs |= set(" ") if not negated else set(string.whitespace)
        else:
            signs |= set(PRINTABLE)
    return "".join(sorted(set(PRINTABLE) - signs if negated else signs))


def positives(rule: Rule, wanted: int = 5) -> list[str]:
    """Texts with a value that the rule is for."""
    if rule.name in GIVEN:
        return GIVEN[rule.name]
    rng = random.Random(rule.name)
    found: list[str] = []
    for _ in range(400):
        text = (f"{rule.near[0]} " if rule.near else "") + sampled(rule.source, rng)
        match = rule.pattern.search(text)
        if match is None or "\0" in text:
            continue
        value = match["secret"] if "secret" in rule.pattern.groupindex else match.group()
        if rule.check is None or rule.check(value):
            found.append(text)
            if len(found) == wanted:
                break
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_finds_what_it_is_for(rule: Rule) -> None:
    """Five values of its shape, in prose, in quotes and at a line's end: all of the value is covered."""
    examples = positives(rule)
    assert len(examples) >= 3
    for text in examples:
        match = rule.pattern.search(text)
        assert match is not None
        start, end = match.span("secret") if "secret" in rule.pattern.groupindex else match.span()
        for before, after in (("see ", " there"), ("line\n", "\nnext")):
            covered = [False] * len(before + text + after)
            for found in SCRUBBER.find(before + text + after):
                covered[found.start : found.end] = [True] * (found.end - found.start)
            inner = covered[len(before) + start : len(before) + end]
            assert sum(inner) >= len(inner.copy()) - 2, (text, SCRUBBER.find(before + text + after))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_leaves_what_only_begins_like_it(rule: Rule) -> None:
    """The mark alone, the mark with a row of crosses, the mark with a variable: this rule finds nothing."""
    if rule.name in {"putty", "ssh.body", "ansible.vault", "wallet.seed", "phrase.quoted", "phrase.joined"}:
        pytest.skip("the mark alone says what follows")
    for text in positives(rule, 3):
        match = rule.pattern.search(text)
        assert match is not None
        start = match.start("secret") if "secret" in rule.pattern.groupindex else match.start()
        stem = text[:start] if "secret" in rule.pattern.groupindex else text[: start + 3]
        for tail in (" ", " ...", "$TOKEN ", "x" * 3 + " "):
            found = [item.rule for item in SCRUBBER.find(stem + tail)]
            assert rule.name not in found, stem + tail


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_head_of_a_rule_matches_where_the_rule_does(rule: Rule) -> None:
    """The scanner must report every place that the pattern would match."""
    head = re.compile(rule.head())
    for text in positives(rule, 3):
        match = rule.pattern.search(text)
        assert match is not None
        if rule.back:
            assert head.search(f" {text} ") is not None
        else:
            assert head.match(text, match.start()) is not None


def test_there_are_rules_for_two_hundred_kinds_of_place() -> None:
    """Names are unique, and every one says a kind that a placeholder can carry."""
    assert len(RULES) == len({rule.name for rule in RULES}) >= 200
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]{1,39}", rule.kind) for rule in RULES)
    assert len({rule.kind for rule in RULES}) >= 100


@pytest.mark.parametrize(
    ("source", "head"),
    [
        (r"ab[0-9]{20,30}c", r"\x61\x62(?:[\x30-\x39]){10}"),
        (r"(?<!x)a(?P<secret>\d+)", r"\x61(?:(?:[\d]){1})"),
        (r"(?i:ab)c?", r"(?i:\x61\x62)(?:\x63){0,1}"),
    ],
)
def test_heads_stop_where_a_pattern_opens(source: str, head: str) -> None:
    """Bounded, without looks around, and no longer than they must be."""
    assert head == head_of(source)


PLUGINS = [found.name for found in iter_modules(plugins.__path__)]


@pytest.mark.parametrize("name", sorted(set(PLUGINS) - {"base", "high_entropy_strings", "keyword"}))
def test_what_a_pattern_plugin_of_detect_secrets_describes_is_found(name: str) -> None:
    """Ten texts made from each of its patterns, in prose and at a line's end; addresses and key blocks are ours."""
    patterns = [pattern for _, pattern in _patterns(import_module(f"detect_secrets.plugins.{name}"))]
    assert patterns
    for pattern in patterns:
        for text in PLUGIN_TEXTS.get(name) or plugin_texts(pattern):
            for line in (f"see {text} there", f"line\n{text}\nnext"):
                assert SCRUBBER.find(line), (pattern.pattern, line)


def plugin_texts(pattern: re.Pattern[str]) -> list[str]:
    """Ten texts that the pattern matches and that hold more than a row of one sign."""
    rng = random.Random(pattern.pattern)
    texts = [sampled(pattern.pattern, rng).replace("\0", "") for _ in range(60)]
    found = [text for text in texts if pattern.search(text) and len(set(text)) > 8][:10]
    assert len(found) == 10, pattern.pattern
    return found


PLUGIN_TEXTS = {
    "ip_public": ["84.23.11.7", "host 133.23.1.9:8080", "from 8.8.4.4"],
    "private_key": [
        f"-----BEGIN {label} KEY-----\n{'aB3xQ9kZ7mR2' * 5}\n-----END {label} KEY-----"
        for label in ("DSA PRIVATE", "EC PRIVATE", "OPENSSH PRIVATE", "PRIVATE", "RSA PRIVATE", "ENCRYPTED PRIVATE")
    ]
    + [f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{'aB3xQ9kZ7mR2' * 5}\n-----END PGP PRIVATE KEY BLOCK-----"],
}
