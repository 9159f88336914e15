"""Corpus entries as documents of the index: which collection, what title, which words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePath

from gtftd.schemas.corpus import Entry, EntryKind, Message
from gtftd.schemas.rag import MAX_TEXT, WAITS, BeadCard, Collection, IndexDocument
from gtftd.town.artifact_files import FORMULAS, INSTRUCTIONS, kind_of
from gtftd.town.conversation import SHELL_TOOLS
from gtftd.town.identity import FOR_ALL

_COMMAND_CHARS = 300
_CUT = "\n[cut here: the text is longer than what is indexed]"


def document_id(kind: EntryKind, origin: str, entry_id: str) -> str:
    """A session has several entries; anything else is what its origin names."""
    return f"session:{entry_id}" if kind == "session" or not origin else origin[:1024]


def document_of(entry: Entry, stored_at: datetime) -> IndexDocument | None:
    """None: it says nothing that anybody would look for. `entry` must be whole, its texts in place.

    A document is as new as its last change that was seen; of work its own times tell.
    """
    text = clipped("\n\n".join(_words(entry)))
    if not text.strip():
        return None
    collection = collection_of(entry.kind, entry.origin)
    path = entry.origin.removeprefix("file:") if entry.kind == "artifact" else ""
    return IndexDocument(
        id=document_id(entry.kind, entry.origin, entry.entry_id),
        collection=collection,
        rig=entry.rig,
        roles=() if entry.role == FOR_ALL else (entry.role,),
        title=(path or entry.title or _session_title(entry))[:500],
        text=text,
        updated_at=entry.ended_at or entry.started_at or stored_at,
        bead=_card(entry) if entry.kind == "operational" else None,
        instructs=entry.kind == "prime" or kind_of(path) in INSTRUCTIONS | FORMULAS,
    )


def collection_of(kind: EntryKind, origin: str) -> Collection:
    if kind == "session":
        return "sessions"
    if kind == "operational":
        return "beads"
    if kind == "prime":
        return "configs"
    what = kind_of(origin.removeprefix("file:")) if kind == "artifact" else None
    if what == "formula":
        return "formulas"
    return "configs" if what in INSTRUCTIONS | FORMULAS or what in {"prime_md", "template"} else "docs"


def clipped(text: str) -> str:
    """As much as is indexed; what was cut says so."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - len(_CUT)] + _CUT


def _words(entry: Entry) -> Iterator[str]:
    """Of a session what agents and people said and which commands ran; of a document everything but its fields."""
    for message in entry.messages:
        if entry.kind != "session":
            if message.kind == "turn" or entry.kind == "prime":
                yield message.content
        elif message.kind == "turn" and message.role in {"user", "assistant"}:
            yield from _spoken(message)


def _spoken(message: Message) -> Iterator[str]:
    if message.content.strip():
        yield f"{'agent' if message.role == 'assistant' else 'user'}: {message.content.strip()}"
    for call in message.tool_calls:
        command = call.arguments.get("command")
        if call.name in SHELL_TOOLS and isinstance(command, str):
            yield f"ran: {command[:_COMMAND_CHARS]}"


def _session_title(entry: Entry) -> str:
    work = f"{entry.bead} ({entry.outcome.label})" if entry.bead else entry.outcome.label
    return f"session of {entry.actor or entry.role}: {work}" if entry.kind == "session" else PurePath(entry.origin).name


def _card(entry: Entry) -> BeadCard | None:
    """What the stored account tells of the bead's state; None where it cannot be read."""
    try:
        told = json.loads(entry.messages[-1].content)
        links = {name: [(str(kind), str(bead)) for kind, bead in told.get(name, ())] for name in ("needs", "needed_by")}
        attributes = dict(told.get("attributes", {}))
        return BeadCard(
            bead=told["bead"],
            status=told["status"],
            issue_type=told["type"],
            assignee=entry.actor,
            parent=next((bead for kind, bead in links["needs"] if kind == "parent-child"), None),
            needs=tuple(bead for kind, bead in links["needs"] if kind in WAITS),
            needed_by=tuple(bead for kind, bead in links["needed_by"] if kind in WAITS),
            related=tuple(bead for both in links.values() for kind, bead in both if kind not in WAITS),
            formula=attributes.get("attached_formula") or attributes.get("attached_molecule"),
        )
    except (ValueError, LookupError, TypeError):
        return None
