"""The scrubber: what it does not understand does not leave.

Over-redaction is the rule: an uncertain run of characters is replaced, the entry flows, and the doubt is reported.
Placeholders are typed and keyed (`<GITHUB_TOKEN:3f09ac>`): the same secret always reads the same, so that a
trajectory stays learnable, and nobody without the key can test a guess.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtftd.schemas.corpus import Message, ToolCall
from gtftd.scrub.passages import MAX_DEPTH, Remembered, around, texts_of
from gtftd.scrub.placeholders import digest_of, placeholder, quote_for
from gtftd.town.conversation import RawMessage
from gtftd.town.jsonl import clean

if TYPE_CHECKING:
    from gtftd.scrub.finder import Finder
    from gtftd.scrub.seams import Seams
    from gtftd.scrub.spans import Span

_MAX_ROUNDS = 3
_READ_AHEAD = 256 * 1024
_SEAL = object()
_CALL_ID = re.compile(r"(?:toolu|srvtoolu|call|tool|screen|fc)_[A-Za-z0-9]{1,64}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_SHELL_KEYS = frozenset({"command", "cmd", "script"})


class Scrubbed(str):
    """Text that has been through the scrubber. Only the scrubber can make one; any change makes it a plain str."""

    __slots__ = ()

    def __new__(cls, text: str, seal: object = None) -> Scrubbed:
        if seal is not _SEAL:
            raise TypeError("only Scrubber.scrub_text makes Scrubbed text")
        return super().__new__(cls, text)


@dataclass(frozen=True)
class Finding:
    """What would be replaced, in offsets of the source text."""

    start: int
    end: int
    kind: str
    certain: bool
    rule: str


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
    digest = hashlib.sha256(version_of("hyperscan").encode())
    for file in sorted(Path(__file__).parent.iterdir()):
        if file.suffix in {".py", ".txt"}:
            digest.update(file.read_bytes())
    return f"2-{digest.hexdigest()[:12]}"


class Scrubber:
    """Replaces secrets and people. One instance serves any thread; it remembers which texts it found clean."""

    def __init__(
        self,
        known_values: Mapping[str, str],
        *,
        key: bytes,
        home: str | None = None,
        users: Iterable[str] = (),
        hosts: Iterable[str] = (),
        allowed: Iterable[str] = (),
    ) -> None:
        """`known_values` are the town's own secrets by name; `key` makes placeholders stable within the town;
        `allowed` are the digests of values that a person has released.
        """
        if len(key) < 16:
            raise ValueError(f"the scrubber's key has {len(key)} bytes; give at least 16 random ones")
        self._key = key
        self._owned = (dict(known_values), home, tuple(users), tuple(hosts))
        self._allowed = frozenset(allowed)
        self._nothing = Remembered()
        self.version = rules_version()

    @cached_property
    def _finder(self) -> Finder:
        from gtftd.scrub.finder import Finder
        from gtftd.scrub.owned import Owned

        values, home, users, hosts = self._owned
        return Finder(Owned(values, home=home, users=users, hosts=hosts))

    def digest(self, value: str) -> str:
        """The keyed digest of a value, as a doubt carries it."""
        return digest_of(self._key, value)

    def find(self, text: str) -> list[Finding]:
        """What would be replaced in this text, in order."""
        spans = self._released(self._finder.spans(clean(text)))
        return [Finding(span.start, span.end, span.kind, span.certain, span.rule) for span in spans]

    def values_behind(self, text: str) -> dict[str, str]:
        """What each placeholder of this raw text stands for: for a review on a terminal, never for a store."""
        spans = self._released(self._finder.spans(clean(text)))
        return {placeholder(span.kind, self.digest(span.value)): span.value for span in spans}

    def scrub_text(self, text: str, counts: Counter[str] | None = None) -> Scrubbed:
        """The text without secrets; `counts` learns how many of each kind were replaced. Linear in the text."""
        return self._text(text, Work(Counter() if counts is None else counts))

    def scrub_value(self, value: object, counts: Counter[str] | None = None) -> Any:
        """A JSON value with every string in it scrubbed, keys too. What is no JSON, or nests too deep, is dropped."""
        return self._value(value, Work(Counter() if counts is None else counts), "", 0)

    def scrub_message(self, raw: RawMessage) -> tuple[Message, Counter[str]]:
        """The message as it may be stored, and how many spans of each kind were replaced in it."""
        work = Work(Counter())
        return self._message(raw, work), work.counts

    def scrub_messages(self, raws: Iterable[RawMessage]) -> ScrubbedMessages:
        """All messages of a session: values that were split over several of them are found too."""
        from gtftd.scrub.seams import Seams

        raws = tuple(raws)
        work = Work(Counter(), Seams.of(raws, self._finder, self._released))
        messages = []
        for index, raw in enumerate(raws):
            work.message = index
            if index == work.read_to:
                self._read_ahead(raws, work)
            messages.append(self._message(raw, work))
        return ScrubbedMessages(tuple(messages), dict(work.counts), tuple(work.doubts))

    def _read_ahead(self, raws: Sequence[RawMessage], work: Work) -> None:
        """Looks at the texts of the next messages together, as many as may be held at once."""
        texts: dict[str, None] = {}
        size = 0
        while work.read_to < len(raws) and size < _READ_AHEAD:
            for text in texts_of(raws[work.read_to]):
                size += len(text)
                if text and text not in texts and len(text) <= _READ_AHEAD:
                    texts[text] = None
            work.read_to += 1
        wanted = [text for text in map(clean, texts) if not self._nothing.has(text)]
        work.spans = dict(zip(wanted, self._finder.spans_each(wanted), strict=True))
        for text, spans in work.spans.items():
            if not spans:
                self._nothing.add(text)

    def _message(self, raw: RawMessage, work: Work) -> Message:
        calls = tuple(
            ToolCall(
                id=self._ident(call.id, work),
                name=str(call.name) if _NAME.fullmatch(call.name) else self._text(call.name[:200], work),
                arguments=self._value(dict(call.arguments), work, "", 0),
            )
            for call in raw.tool_calls
        )
        return Message(
            role=raw.role,
            content=self._text(raw.content, work, split=work.split()),
            tool_calls=calls,
            tool_call_id=None if raw.tool_call_id is None else self._ident(raw.tool_call_id, work),
            is_error=raw.is_error,
            trainable=raw.trainable,
            at=raw.at,
            kind=raw.kind,
        )

    def _text(self, text: str, work: Work, *, is_shell: bool = False, split: Iterable[Span] = ()) -> Scrubbed:
        from gtftd.scrub.spans import PERSON, merged

        text = clean(text)
        spans = self._spans(text, work)
        if extra := list(split):
            spans = merged([*spans, *extra], text)
        for _ in range(_MAX_ROUNDS):
            spans = self._released(spans)
            if not spans:
                break
            text, places = self._replaced(text, spans, work, is_shell=is_shell)
            if all(span.rank == PERSON for span in spans):
                break
            spans = self._spans_near(text, places)
        return Scrubbed(text, _SEAL)

    def _spans(self, text: str, work: Work) -> list[Span]:
        """What was found in this text, or in one that reads the same: boilerplate is looked at once."""
        spans = work.spans.get(text)
        if spans is None and text and not self._nothing.has(text):
            spans = self._finder.spans(text)
            if not spans:
                self._nothing.add(text)
        return spans or []

    def _spans_near(self, text: str, places: Sequence[int]) -> list[Span]:
        """What is found in a text now that placeholders stand at these places: only around them can it be new."""
        windows = around(text, places)
        if windows == [(0, len(text))]:
            return self._finder.spans(text)
        found = self._finder.spans_each([text[start:end] for start, end in windows])
        return [
            replace(span, start=span.start + start, end=span.end + start)
            for (start, _), spans in zip(windows, found, strict=True)
            for span in spans
        ]

    def _replaced(self, text: str, spans: list[Span], work: Work, *, is_shell: bool) -> tuple[str, list[int]]:
        """The text with placeholders, and where they stand in it."""
        pieces: list[str] = []
        places: list[int] = []
        done = at = 0
        for span in spans:
            digest = self.digest(span.value)
            name = placeholder(span.kind, digest)
            work.note(span, name, digest)
            quote = quote_for(text, span.start, span.end, is_shell=is_shell)
            pieces += (text[done : span.start], quote, name, quote)
            places.append(at + span.start - done)
            at += span.start - done + 2 * len(quote) + len(name)
            done = span.end
        return "".join((*pieces, text[done:])), places

    def _released(self, spans: list[Span]) -> list[Span]:
        if not self._allowed:
            return spans
        return [span for span in spans if self.digest(span.value) not in self._allowed]

    def _value(self, value: object, work: Work, name: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            work.counts["too_deep"] += 1
            return "<DROPPED:too_deep>"
        match value:
            case str():
                return self._named(name, value, work)
            case bool() | None:
                return value
            case int() | float():
                return self._number(name, value, work)
            case Mapping():
                return {
                    str(self._text(str(key), work)): self._value(item, work, str(key), depth + 1)
                    for key, item in value.items()
                }
            case list() | tuple():
                return [self._value(item, work, name, depth + 1) for item in value]
            case _:
                work.counts["not_json"] += 1
                return "<DROPPED:not_json>"

    def _number(self, name: str, value: float, work: Work) -> Any:
        """A number stays one, unless its key says that it is a secret; JSON knows no infinity."""
        from gtftd.scrub.assignments import is_secret_value

        if not math.isfinite(value):
            return None
        return self._named(name, str(value), work) if name and is_secret_value(name, str(value)) else value

    def _named(self, name: str, value: str, work: Work) -> str:
        """A string under a key: the key may say that it is a secret where the string alone does not."""
        from gtftd.scrub.assignments import is_secret_value
        from gtftd.scrub.placeholders import PLACEHOLDER

        scrubbed = self._text(value, work, is_shell=name in _SHELL_KEYS)
        bare = PLACEHOLDER.sub("", scrubbed)
        if name and is_secret_value(name, value) and bare and is_secret_value(name, bare):
            digest = self.digest(value)
            if digest in self._allowed:
                return value
            work.counts["SECRET"] += 1
            return placeholder("SECRET", digest)
        return str(scrubbed)

    def _ident(self, ident: str, work: Work) -> str:
        return ident if _CALL_ID.fullmatch(ident) else str(self._text(ident[:200], work))


class Work:
    """What one session's scrubbing has counted and doubted so far."""

    def __init__(self, counts: Counter[str], seams: Seams | None = None) -> None:
        self.counts = counts
        self.doubts: list[Doubt] = []
        self.message = 0
        self.read_to = 0
        self.spans: dict[str, list[Span]] = {}
        """What was found in the texts of the messages before `read_to`."""
        self._seams = seams

    def note(self, span: Span, name: str, digest: str) -> None:
        """One more span was replaced."""
        self.counts[span.kind] += 1
        if not span.certain:
            self.doubts.append(Doubt(name, digest, span.kind, span.rule, self.message))

    def split(self) -> list[Span]:
        """The parts in this message's content of values that were split over several messages."""
        return [] if self._seams is None else self._seams.spans_of(self.message)
