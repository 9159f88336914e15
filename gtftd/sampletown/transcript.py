"""Grows one Claude Code transcript, line by line, in the shape that Claude Code writes."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

VERSION = "2.1.38"
Block = dict[str, object]


def project_folder(claude_dir: Path, cwd: Path) -> Path:
    """Claude Code's own rule: everything that is no letter or digit becomes a dash."""
    return claude_dir / "projects" / re.sub(r"[^A-Za-z0-9]", "-", str(cwd))


class Transcript:
    """Append-only; each line is one write. The file appears with the first line, not with the session."""

    def __init__(self, path: Path, *, cwd: Path, branch: str, model: str, clock: Callable[[], datetime]) -> None:
        self.path = path
        self.branch = branch
        self._session_id = path.stem
        self._cwd = cwd
        self._model = model
        self._clock = clock
        self._parent: str | None = None
        self._side: str | None = None
        self._message_id = ""

    def user(self, content: str | list[Block], *, side: bool = False, **extra: object) -> str:
        """A user line: a prompt as plain text, or blocks such as tool results."""
        return self._line("user", {"message": {"role": "user", "content": content}, **extra}, side=side)

    def assistant(self, block: Block, *, side: bool = False, tokens: int = 60) -> str:
        """One block of an answer; blocks of one answer share the message id until a user line comes."""
        if not self._message_id:
            self._message_id = "msg_01" + uuid.uuid4().hex[:22]
        message = {
            "model": self._model, "id": self._message_id, "type": "message", "role": "assistant",
            "content": [block], "stop_reason": "tool_use" if block["type"] == "tool_use" else None,
            "stop_sequence": None, "usage": _usage(tokens),
        }  # fmt: skip
        return self._line("assistant", {"message": message, "requestId": "req_011" + uuid.uuid4().hex[:21]}, side=side)

    def compact(self, summary: str) -> None:
        """The conversation was compacted: a boundary, then the summary as a user line."""
        before, self._parent = self._parent, None
        boundary = {
            "subtype": "compact_boundary", "content": "Conversation compacted", "isMeta": False, "level": "info",
            "logicalParentUuid": before, "compactMetadata": {"trigger": "auto", "preTokens": 155_012},
        }  # fmt: skip
        self._line("system", boundary)
        self.user(summary, isCompactSummary=True, isVisibleInTranscriptOnly=True)
        self.bare({"type": "summary", "summary": summary[:60], "leafUuid": self._parent})

    def start_side(self) -> None:
        """A sub-agent begins: its lines form a tree of their own."""
        self._side = None
        self._message_id = ""

    def bare(self, line: Mapping[str, object]) -> None:
        """A line outside the tree: a summary, a file snapshot, a queue operation."""
        self._append(line)

    def _line(self, kind: str, body: Mapping[str, object], *, side: bool = False) -> str:
        if kind != "assistant":
            self._message_id = ""
        key = str(uuid.uuid4())
        line: dict[str, object] = {
            "parentUuid": self._side if side else self._parent, "isSidechain": side, "userType": "external",
            "cwd": str(self._cwd), "sessionId": self._session_id, "version": VERSION, "gitBranch": self.branch,
            "type": kind, **body, "uuid": key, "timestamp": self._stamp(),
        }  # fmt: skip
        if side:
            self._side = key
        else:
            self._parent = key
        self._append(line)
        return key

    def _append(self, line: Mapping[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            os.write(target, json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        finally:
            os.close(target)

    def _stamp(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _usage(tokens: int) -> dict[str, object]:
    return {
        "input_tokens": 4,
        "cache_creation_input_tokens": 900 + tokens,
        "cache_read_input_tokens": 18_000,
        "output_tokens": tokens,
        "service_tier": "standard",
    }
