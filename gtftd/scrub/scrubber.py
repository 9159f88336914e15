"""The first scrubber: what it does not understand does not leave.

Over-redaction is the rule: an uncertain run of characters is replaced, and the entry flows. Placeholders are
typed and keyed (`<GITHUB_TOKEN:3f09ac>`): the same secret always reads the same, so that a trajectory stays
learnable, and nobody without the key can test a guess.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from gtftd.schemas.corpus import Message, ToolCall
from gtftd.scrub.assignments import assigned, is_secret_value
from gtftd.scrub.encodings import encodings, plain
from gtftd.scrub.keys import replace_dsn, replace_keys
from gtftd.scrub.personal import Replace, replace_addresses, replace_emails, replace_homes
from gtftd.scrub.rules import Rule, matching
from gtftd.scrub.shapes import suspects
from gtftd.town.conversation import RawMessage

MAX_DEPTH = 32
_SEAL = object()
_CALL_ID = re.compile(r"(?:toolu|srvtoolu|call|tool|screen|fc)_[A-Za-z0-9]{1,64}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RULE_FILES = ("scrubber", "rules", "shapes", "assignments", "personal", "keys", "encodings")


class Scrubbed(str):
    """Text that has been through the scrubber. Only the scrubber can make one; any change makes it a plain str."""

    __slots__ = ()

    def __new__(cls, text: str, seal: object = None) -> Scrubbed:
        if seal is not _SEAL:
            raise TypeError("only Scrubber.scrub_text makes Scrubbed text")
        return super().__new__(cls, text)


@dataclass(frozen=True)
class Doubt:
    """A replaced span that may have been harmless; `digest` is keyed, `message` the index in the session."""

    placeholder: str
    digest: str
    kind: str
    rule: str
    message: int


@dataclass(frozen=True)
class ScrubbedMessages:
    """What may be stored of a session, how many spans of each kind were replaced, and which of them are doubts."""

    messages: tuple[Message, ...]
    redactions: dict[str, int]
    doubts: tuple[Doubt, ...]


@cache
def rules_version() -> str:
    """Changes whenever a rule or the code that applies it changes."""
    digest = hashlib.sha256(version_of("detect-secrets").encode())
    for name in _RULE_FILES:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return f"1-{digest.hexdigest()[:12]}"


class Scrubber:
    """Replaces secrets and people. One instance serves any thread: it holds no state but its settings."""

    def __init__(
        self,
        known_values: Mapping[str, str],
        *,
        key: bytes,
        home: str | None = None,
        users: Iterable[str] = (),
        hosts: Iterable[str] = (),
    ) -> None:
        """`known_values` are the town's own secrets by name; `key` makes placeholders stable within the town."""
        if len(key) < 16:
            raise ValueError(f"the scrubber's key has {len(key)} bytes; give at least 16 random ones")
        self._key = key
        self._known: list[tuple[str, str, str]] = []
        for name, value in known_values.items():
            kind = re.sub(r"[^A-Z0-9_]", "_", name.upper())[:40] or "SECRET"
            self._known += [(kind, form, value) for form in encodings(value)]
        self._known.sort(key=lambda item: -len(item[1]))
        self._home = (
            home if home and home not in ("/", "/root") and not home.startswith(("/home/", "/Users/")) else None
        )
        self._names = _whole_words(users, "USER") + _whole_words(hosts, "HOST")
        self.version = rules_version()

    def scrub_text(self, text: str, counts: Counter[str] | None = None) -> Scrubbed:
        """The text without secrets; `counts` learns how many of each kind were replaced. Linear in the text."""
        found = Counter[str]() if counts is None else counts

        def replace(kind: str, value: str) -> str:
            found[kind] += 1
            return self._placeholder(kind, value)

        text = plain(text)
        for kind, form, value in self._known:
            if form in text:
                found[kind] += text.count(form)
                text = text.replace(form, self._placeholder(kind, value))
        text = replace_keys(text, replace)
        for rule in matching(text):
            text = _apply(rule, text, replace)
        text = replace_dsn(text, replace)
        text = _cut_out(text, ((item.start, item.end, item.kind, item.quote) for item in assigned(text)), replace)
        text = _cut_out(text, ((item.start, item.end, "SECRET", "") for item in suspects(text)), replace)
        text = replace_emails(text, replace)
        text = replace_addresses(text, replace)
        if self._home is not None and self._home in text:
            text = text.replace(self._home, replace("HOME", self._home))
        text = replace_homes(text, replace)
        for pattern, kind in self._names:
            text = pattern.sub(lambda match, kind=kind: replace(kind, match.group()), text)  # type: ignore[misc]
        return Scrubbed(text, _SEAL)

    def scrub_value(self, value: object, counts: Counter[str] | None = None) -> Any:
        """A JSON value with every string in it scrubbed, keys too. What is no JSON, or nests too deep, is dropped."""
        return self._value(value, Counter() if counts is None else counts, "", 0)

    def scrub_message(self, raw: RawMessage) -> tuple[Message, Counter[str]]:
        """The message as it may be stored, and how many spans of each kind were replaced in it."""
        counts: Counter[str] = Counter()
        calls = tuple(
            ToolCall(
                id=self._ident(call.id, counts),
                name=str(call.name) if _NAME.fullmatch(call.name) else self.scrub_text(call.name[:200], counts),
                arguments=self.scrub_value(dict(call.arguments), counts),
            )
            for call in raw.tool_calls
        )
        message = Message(
            role=raw.role,
            content=self.scrub_text(raw.content, counts),
            tool_calls=calls,
            tool_call_id=None if raw.tool_call_id is None else self._ident(raw.tool_call_id, counts),
            is_error=raw.is_error,
            trainable=raw.trainable,
            at=raw.at,
            kind=raw.kind,
        )
        return message, counts

    def scrub_messages(self, raws: Iterable[RawMessage]) -> ScrubbedMessages:
        """All messages of a span, and the counts of all of them together."""
        total: Counter[str] = Counter()
        messages = []
        for raw in raws:
            message, counts = self.scrub_message(raw)
            messages.append(message)
            total.update(counts)
        return ScrubbedMessages(tuple(messages), dict(total), ())

    def _value(self, value: object, counts: Counter[str], name: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            counts["too_deep"] += 1
            return "<DROPPED:too_deep>"
        match value:
            case str():
                return self._named(name, value, counts)
            case bool() | None:
                return value
            case int() | float():
                return self._number(name, value, counts)
            case Mapping():
                return {
                    str(self.scrub_text(str(key), counts)): self._value(item, counts, str(key), depth + 1)
                    for key, item in value.items()
                }
            case list() | tuple():
                return [self._value(item, counts, name, depth + 1) for item in value]
            case _:
                counts["not_json"] += 1
                return "<DROPPED:not_json>"

    def _number(self, name: str, value: float, counts: Counter[str]) -> Any:
        """A number stays one, unless its key says that it is a secret; JSON knows no infinity."""
        if not math.isfinite(value):
            return None
        return self._named(name, str(value), counts) if name and is_secret_value(name, str(value)) else value

    def _named(self, name: str, value: str, counts: Counter[str]) -> str:
        """A string under a key: the key may say that it is a secret where the string alone does not."""
        scrubbed = self.scrub_text(value, counts)
        if name and is_secret_value(name, value) and is_secret_value(name, scrubbed):
            counts["SECRET"] += 1
            return self._placeholder("SECRET", value)
        return str(scrubbed)

    def _ident(self, ident: str, counts: Counter[str]) -> str:
        return ident if _CALL_ID.fullmatch(ident) else str(self.scrub_text(ident[:200], counts))

    def _placeholder(self, kind: str, value: str) -> str:
        digest = hmac.new(self._key, value.encode(errors="replace"), hashlib.sha256).hexdigest()
        return f"<{kind}:{digest[:6]}>"


def _apply(rule: Rule, text: str, replace: Replace) -> str:
    def hidden(found: re.Match[str]) -> str:
        if "secret" not in rule.pattern.groupindex:
            return replace(rule.kind, found.group())
        start, end = found.span("secret")
        whole, begin = found.group(), found.start()
        value = replace(rule.kind, found["secret"])
        return whole[: start - begin] + value + whole[end - begin :]

    return rule.pattern.sub(hidden, text)


def _cut_out(text: str, places: Iterable[tuple[int, int, str, str]], replace: Replace) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, kind, quote in places:
        pieces += (text[done:start], quote, replace(kind, text[start:end]), quote)
        done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _whole_words(names: Iterable[str], kind: str) -> list[tuple[re.Pattern[str], str]]:
    """A name of three letters or fewer, or one that is a word of the trade, hides nobody."""
    common = {"root", "user", "admin", "test", "local", "localhost", "ubuntu", "debian", "build", "runner", "main"}
    chosen = sorted({name for name in names if len(name) > 3 and name.lower() not in common}, key=len, reverse=True)
    if not chosen:
        return []
    return [(re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, chosen))})(?![\w-])"), kind)]
