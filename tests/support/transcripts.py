"""A builder of Claude Code transcripts: lines with the fields that Claude Code writes."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2026, 3, 5, 10, 0, 0, 250_000, tzinfo=UTC)


class TranscriptBuilder:
    """Grows a session line by line; every call moves the clock by `step` and chains `parentUuid`."""

    def __init__(
        self,
        session_id: str = "0b9c2f0e-5f2e-4f0e-9f65-0d2a54a8c111",
        *,
        cwd: str = "/home/ada/gt/gastown/polecats/nux/gastown",
        model: str = "claude-opus-4-6",
        start: datetime = START,
        step: timedelta = timedelta(seconds=5),
    ) -> None:
        self.session_id, self.cwd, self.model, self.step = session_id, cwd, model, step
        self.now = start - step
        self.parent: str | None = None
        self.lines: list[dict[str, Any]] = []
        self._count = 0

    def add(self, type_: str, *, parent: str | bool | None = True, **fields: Any) -> dict[str, Any]:
        """Any line; `parent=True` hangs it on the line before, None makes a root."""
        self.now += self.step
        self._count += 1
        line = {
            "parentUuid": self.parent if parent is True else parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": self.cwd,
            "sessionId": self.session_id,
            "version": "2.1.34",
            "gitBranch": "polecat/nux/gt-abc12@mlx",
            "type": type_,
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.session_id}/{self._count}")),
            "timestamp": self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **fields,
        }
        self.parent = line["uuid"]
        self.lines.append(line)
        return line

    def user(self, text: str | list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
        return self.add("user", message={"role": "user", "content": text}, **fields)

    def assistant(self, *blocks: dict[str, Any], id: str | None = None, **fields: Any) -> dict[str, Any]:
        message = {
            "id": id or f"msg_{self._count:024d}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": list(blocks),
            "stop_reason": None,
            "usage": {"input_tokens": 4, "cache_read_input_tokens": 14_210, "output_tokens": 120},
        }
        return self.add("assistant", message=message, requestId=f"req_{self._count}", **fields)

    def say(self, text: str, **fields: Any) -> dict[str, Any]:
        return self.assistant({"type": "text", "text": text}, **fields)

    def call(self, name: str, id: str | None = None, **arguments: Any) -> str:
        """A line with one tool call; gives back the call's id."""
        ident = id or f"toolu_{self._count:022d}"
        self.assistant({"type": "tool_use", "id": ident, "name": name, "input": arguments})
        return ident

    def result(self, ident: str, content: Any = "ok", *, is_error: bool = False, **fields: Any) -> dict[str, Any]:
        block = {"type": "tool_result", "tool_use_id": ident, "content": content, "is_error": is_error}
        return self.user([block], toolUseResult={"stdout": "", "stderr": ""}, **fields)

    def bash(self, command: str, output: str = "ok", *, is_error: bool = False) -> str:
        ident = self.call("Bash", command=command, description="run it")
        self.result(ident, output, is_error=is_error)
        return ident

    def hook(self, text: str, event: str = "SessionStart") -> dict[str, Any]:
        return self.add(
            "attachment",
            attachment={
                "type": "hook_success", "hookName": f"{event}:startup", "hookEvent": event, "content": text,
                "stdout": text, "stderr": "", "exitCode": 0, "command": "gt prime --hook", "durationMs": 312,
            },
        )  # fmt: skip

    def encode(self) -> bytes:
        return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)

    def write(self, folder: Path) -> Path:
        """`<folder>/projects/-home-ada/<session>.jsonl`, as Claude Code names it."""
        path = folder / "projects" / self.cwd.replace("/", "-") / f"{self.session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.encode())
        return path


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_use(ident: str, name: str = "Bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": ident, "name": name, "input": arguments}
