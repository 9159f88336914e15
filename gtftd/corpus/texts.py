"""Boilerplate by reference: what harness and prime put into every session is stored once, part by part."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from gtftd.schemas.corpus import Entry, Message

LONG_CHARS = 1200
"""A shorter text costs less in the entry than as a file."""
PART_CHARS = 400
_INJECTED = frozenset({"meta", "hook", "compaction"})
_PRIME = re.compile(r"\b(?:gt|bd) prime\b")
_HEADING = re.compile(r"^#{1,3} ", re.MULTILINE)


def by_reference(entry: Entry) -> tuple[Entry, dict[str, bytes]]:
    """The entry with references instead of its boilerplate, and the texts that they name, by sha256."""
    if entry.kind != "session":
        return entry, {}
    texts: dict[str, bytes] = {}
    prime = _prime_calls(entry.messages)
    messages = tuple(_referring(message, texts) if _is_boilerplate(message, prime) else message
                     for message in entry.messages)  # fmt: skip
    return (entry.model_copy(update={"messages": messages}), texts) if texts else (entry, {})


def whole(entry: Entry, text_of: Callable[[str], str]) -> Entry:
    """The entry with its texts in place again."""
    if not any(message.refs for message in entry.messages):
        return entry
    messages = tuple(
        message.model_copy(update={"content": "".join(map(text_of, message.refs)), "refs": ()})
        if message.refs
        else message
        for message in entry.messages
    )
    return entry.model_copy(update={"messages": messages})


def references(entry: Entry) -> set[str]:
    return {ref for message in entry.messages for ref in message.refs}


def parts_of(text: str) -> list[str]:
    """The text cut before its headings, so that the parts that two of them share are equal; none is tiny."""
    cuts = [0, *(match.start() for match in _HEADING.finditer(text) if match.start()), len(text)]
    parts: list[str] = []
    for start, end in pairwise(cuts):
        if parts and len(parts[-1]) < PART_CHARS:
            parts[-1] += text[start:end]
        else:
            parts.append(text[start:end])
    return parts


def _is_boilerplate(message: Message, prime: Mapping[str, bool]) -> bool:
    if message.trainable or message.role == "assistant" or len(message.content) < LONG_CHARS:
        return False
    return message.role == "system" or message.kind in _INJECTED or prime.get(message.tool_call_id or "", False)


def _prime_calls(messages: Iterable[Message]) -> dict[str, bool]:
    found = {}
    for message in messages:
        for call in message.tool_calls:
            command = call.arguments.get("command")
            found[call.id] = isinstance(command, str) and _PRIME.search(command) is not None
    return found


def _referring(message: Message, texts: dict[str, bytes]) -> Message:
    refs = []
    for part in parts_of(message.content):
        content = part.encode()
        digest = hashlib.sha256(content).hexdigest()
        texts[digest] = content
        refs.append(digest)
    return message.model_copy(update={"content": "", "refs": tuple(refs)})
