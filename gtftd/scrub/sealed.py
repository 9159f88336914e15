"""Entries all of whose text has been through the scrubber: the only ones that the store takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gtftd.schemas.corpus import Entry, Message, Outcome
from gtftd.town.conversation import RawCall, RawMessage

if TYPE_CHECKING:
    from gtftd.scrub.scrubber import Doubt, Scrubber

_SEAL = object()
_FREE = ("title", "issue_type", "agent", "model", "cwd", "origin")
_NAMES = ("actor", "rig", "bead", "database", "session_id", "run_id", "git_head")
_NAME = re.compile(r"[\w./:#@+-]{1,200}")
_ORIGIN = re.compile(r"(?:session|bead|interactions|prime|curated):[\w./:#@+-]{1,300}")
"""Of an origin only the path of a file is somebody's words."""


class ScrubbedEntry:
    """An entry and what the scrubber was not sure of in it; `doubts` is None when they are known already."""

    __slots__ = ("doubts", "entry")

    def __init__(self, entry: Entry, doubts: tuple[Doubt, ...] | None, seal: object = None) -> None:
        if seal is not _SEAL:
            raise TypeError("only scrub_entry, scrub_again and stored make a ScrubbedEntry")
        self.entry = entry
        self.doubts = doubts

    def judged(self, outcome: Outcome) -> ScrubbedEntry:
        """The same text with a later judgement of the work."""
        return ScrubbedEntry(self.entry.model_copy(update={"outcome": outcome}), self.doubts, _SEAL)

    def of(self, origin: str, entry_id: str) -> ScrubbedEntry:
        """The same text under an origin that follows from it."""
        entry = self.entry.model_copy(update={"origin": origin, "entry_id": entry_id})
        return ScrubbedEntry(entry, self.doubts, _SEAL)


def scrub_entry(
    scrubber: Scrubber,
    messages: Iterable[RawMessage],
    mark: Callable[[tuple[Message, ...]], tuple[Message, ...]] | None = None,
    **fields: Any,
) -> ScrubbedEntry:
    """Slow: every text goes through the scrubber. `mark` may say things of the messages, not change their text."""
    scrubbed = scrubber.scrub_messages(messages)
    entry = Entry(
        messages=mark(scrubbed.messages) if mark else scrubbed.messages,
        redactions=dict(sorted(scrubbed.redactions.items())),
        scrubber=scrubber.version,
        **{name: _clean(scrubber, name, value) for name, value in fields.items()},
    )
    return ScrubbedEntry(entry, scrubbed.doubts, _SEAL)


def scrub_again(entry: Entry, scrubber: Scrubber) -> tuple[ScrubbedEntry, dict[str, int]]:
    """A stored entry, whole, as today's rules leave it, and what they found that stood in it."""
    result = scrubber.scrub_messages([_raw(message) for message in entry.messages])
    found = Counter(result.redactions)
    messages = tuple(
        old.model_copy(update={"content": new.content, "tool_calls": new.tool_calls})
        for old, new in zip(entry.messages, result.messages, strict=True)
    )
    free = {name: getattr(entry, name) for name in _FREE if getattr(entry, name)}
    fields = {name: scrubber.scrub_text(text, found) for name, text in free.items() if not _is_id(name, text)}
    redactions = dict(sorted((Counter(entry.redactions) + found).items()))
    update = {"messages": messages, "redactions": redactions, "scrubber": scrubber.version, **fields}
    return ScrubbedEntry(entry.model_copy(update=update), None, _SEAL), dict(found)


def stored(entry: Entry) -> ScrubbedEntry:
    """Of what was read from the store, where nothing else can be."""
    return ScrubbedEntry(entry, None, _SEAL)


def _clean(scrubber: Scrubber, name: str, value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    if (name in _FREE or name in _NAMES) and not _is_id(name, value):
        return str(scrubber.scrub_text(value))
    return value


def _is_id(name: str, value: str) -> bool:
    if name == "origin":
        return _ORIGIN.fullmatch(value) is not None
    return name in _NAMES and _NAME.fullmatch(value) is not None


def _raw(message: Message) -> RawMessage:
    return RawMessage(
        role=message.role,
        content=message.content,
        tool_calls=tuple(RawCall(call.id, call.name, call.arguments) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
        is_error=message.is_error,
        trainable=message.trainable,
        at=message.at,
        kind=message.kind,
    )
