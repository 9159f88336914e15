"""The records of Claude Code's transcripts: one object in, the pieces of conversation that it holds out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from gtftd.town.conversation import Kind, RawCall, RawMessage
from gtftd.town.jsonl import clean

_BOOKKEEPING = frozenset({
    "file-history-snapshot", "queue-operation", "progress", "last-prompt", "custom-title", "ai-title",
    "agent-name", "agent-color", "agent-setting", "mode", "permission-mode", "tag", "pr-link",
    "worktree-state", "speculation-accept", "content-replacement", "marble-origami-commit",
    "marble-origami-snapshot", "task-summary", "checkpoint",
})  # fmt: skip
_META = re.compile(
    r"\s*(?:<(?:system-reminder|local-command-stdout|local-command-stderr|local-command-caveat|command-name|"
    r"command-message|command-args|bash-input|bash-stdout|bash-stderr|task-notification)>|"
    r"Caveat: The messages below were generated|\[Request interrupted by user)"
)
_HOOK = re.compile(r"\s*<(?:user-prompt-submit-hook|session-start-hook|[a-z-]{1,40}-hook)>")
_SYNTHETIC = "<synthetic>"


@dataclass(frozen=True)
class Piece:
    """One message-like part of a record."""

    message: RawMessage
    message_id: str | None = None
    model: str | None = None
    thinking: str = ""


@dataclass(frozen=True)
class Record:
    """One line of the file; also the lines without text, because they hold the tree together."""

    uuid: str | None
    parent: str | None
    pieces: tuple[Piece, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    is_prompt: bool = False
    """A person or another agent typed it: where a rewound session forks."""


def read_record(item: Mapping[str, object]) -> Record:
    """Understand one object; whatever we do not know is counted in `dropped`, never guessed at."""
    dropped: Counter[str] = Counter()
    uuid = _text(item.get("uuid"))
    parent = _text(item.get("parentUuid")) or _text(item.get("logicalParentUuid"))
    pieces: tuple[Piece, ...] = ()
    at = moment(item.get("timestamp"))
    match item.get("type"):
        case _ if item.get("isSidechain") is True:
            dropped["sidechain"] += 1
        case "user":
            pieces = tuple(_user(item, at, dropped))
        case "assistant":
            pieces = tuple(_assistant(item, at, dropped))
        case "system":
            pieces = tuple(_system(item, at, dropped))
        case "attachment":
            pieces = tuple(_attachment(item, at, dropped))
        case "summary":
            pieces = _plain("system", _string(item.get("summary")), at, "compaction")
        case str() as name if name in _BOOKKEEPING:
            dropped["bookkeeping"] += 1
        case _:
            dropped["unknown_type"] += 1
    is_prompt = any(piece.message.role == "user" and piece.message.kind == "turn" for piece in pieces)
    return Record(uuid, parent, pieces, dropped, is_prompt)


def moment(value: object) -> datetime | None:
    """An RFC 3339 time in UTC; a naive one is taken as UTC; None for anything else."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _user(item: Mapping[str, object], at: datetime | None, dropped: Counter[str]) -> Iterator[Piece]:
    forced: Kind | None = None
    if item.get("isCompactSummary") is True:
        forced = "compaction"
    elif item.get("isMeta") is True:
        forced = "meta"
    for block in _blocks(item, dropped):
        match block.get("type"):
            case "text":
                text = _string(block.get("text"))
                yield from _plain("user", text, at, forced or _kind_of(text))
            case "tool_result":
                yield Piece(_result(block, at, dropped))
            case other:
                _drop(other, dropped)


def _assistant(item: Mapping[str, object], at: datetime | None, dropped: Counter[str]) -> Iterator[Piece]:
    message = item.get("message")
    known = message if isinstance(message, dict) else {}
    model = _text(known.get("model"))
    own = item.get("isApiErrorMessage") is not True and model != _SYNTHETIC
    empty = RawMessage("assistant", trainable=own, at=at, kind="turn" if own else "meta")
    texts: list[str] = []
    calls: list[RawCall] = []
    thinking: list[str] = []
    pieces: list[Piece] = []
    ident = _text(known.get("id"))

    def flush() -> None:
        if texts or calls or thinking:
            said = replace(empty, content="\n\n".join(texts), tool_calls=tuple(calls))
            pieces.append(Piece(said, ident, model if own else None, "\n\n".join(thinking)))
        for part in (texts, calls, thinking):
            part.clear()

    for block in _blocks(item, dropped):
        match block.get("type"):
            case "text":
                if calls:
                    flush()
                if text := _string(block.get("text")):
                    texts.append(text)
            case "tool_use" | "server_tool_use" | "mcp_tool_use":
                calls.append(_call(block, dropped))
            case "thinking" | "redacted_thinking":
                dropped["thinking"] += 1
                thinking.append(_string(block.get("thinking")))
            case other:
                _drop(other, dropped)
    flush()
    yield from pieces


def _system(item: Mapping[str, object], at: datetime | None, dropped: Counter[str]) -> Iterator[Piece]:
    text = _string(item.get("content"))
    match item.get("subtype"):
        case "compact_boundary" | "microcompact_boundary":
            yield from _plain("system", text or "Conversation compacted", at, "compaction")
        case "local_command":
            yield from _plain("user", text, at, "meta")
        case _:
            dropped["system"] += 1


def _attachment(item: Mapping[str, object], at: datetime | None, dropped: Counter[str]) -> Iterator[Piece]:
    """Hook output (`gt prime` among it) and prompts typed while the agent was busy (nudges)."""
    held = item.get("attachment")
    attachment = held if isinstance(held, dict) else {}
    match attachment.get("type"):
        case "queued_command":
            for block in _as_blocks(attachment.get("prompt"), dropped):
                if block.get("type") == "text":
                    text = _string(block.get("text"))
                    yield from _plain("user", text, at, _kind_of(text))
                else:
                    _drop(block.get("type"), dropped)
        case "hook_success" | "hook_additional_context" | "hook_system_message":
            said = attachment.get("content") or attachment.get("stdout")
            texts = said if isinstance(said, list) else [said]
            text = "\n".join(part for part in map(_string, texts) if part)
            yield from _plain("user", text, at, "hook")
        case _:
            dropped["attachment"] += 1


def _plain(role: str, text: str, at: datetime | None, kind: Kind) -> tuple[Piece, ...]:
    if not text:
        return ()
    return (Piece(RawMessage("system" if role == "system" else "user", text, at=at, kind=kind)),)


def _kind_of(text: str) -> Kind:
    head = text[:200]
    if _HOOK.match(head):
        return "hook"
    return "meta" if _META.match(head) else "turn"


def _result(block: Mapping[str, object], at: datetime | None, dropped: Counter[str]) -> RawMessage:
    texts = []
    for part in _as_blocks(block.get("content"), dropped):
        if part.get("type") == "text":
            texts.append(_string(part.get("text")))
        else:
            _drop(part.get("type"), dropped)
    return RawMessage(
        "tool",
        "\n".join(texts),
        tool_call_id=_text(block.get("tool_use_id")) or "",
        is_error=block.get("is_error") is True,
        at=at,
    )


def _call(block: Mapping[str, object], dropped: Counter[str]) -> RawCall:
    given = block.get("input")
    if not isinstance(given, dict):
        dropped["bad_input"] += 1
        given = {}
    return RawCall(_text(block.get("id")) or "", _text(block.get("name")) or "", given)


def _blocks(item: Mapping[str, object], dropped: Counter[str]) -> list[Mapping[str, object]]:
    message = item.get("message")
    if isinstance(message, dict):
        return _as_blocks(message.get("content"), dropped)
    dropped["no_message"] += 1
    return []


def _as_blocks(content: object, dropped: Counter[str]) -> list[Mapping[str, object]]:
    """Content as blocks: a string is one text block; a strange member of a list is counted."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        dropped["unknown_block"] += 1
        return []
    blocks: list[Mapping[str, object]] = []
    for block in content:
        if isinstance(block, dict):
            blocks.append(block)
        elif isinstance(block, str):
            blocks.append({"type": "text", "text": block})
        else:
            dropped["unknown_block"] += 1
    return blocks


def _drop(kind: object, dropped: Counter[str]) -> None:
    """Count by names of ours alone: the file must not be able to invent counters."""
    dropped[kind if isinstance(kind, str) and kind in ("image", "document") else "unknown_block"] += 1


def _string(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""


def _text(value: object) -> str | None:
    """A short name or id; None when it is missing or absurd."""
    return clean(value) if isinstance(value, str) and 0 < len(value) <= 4096 else None
