"""A builder of Codex rollouts: lines with the fields that Codex CLI 0.4x to 0.14x writes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.transcripts import START

ID = "0199a213-81c0-7800-8aa1-bbab2a035a53"


class RolloutBuilder:
    """Grows a session line by line; every call moves the clock by `step`."""

    def __init__(
        self,
        session_id: str = ID,
        *,
        cwd: str = "/home/ada/gt/gastown/crew/max",
        model: str = "gpt-5.2-codex",
        start: datetime = START,
        step: timedelta = timedelta(seconds=5),
        **meta: Any,
    ) -> None:
        self.session_id, self.step = session_id, step
        self.now = start - step
        self.lines: list[dict[str, Any]] = []
        self._count = 0
        self.add(
            "session_meta",
            **{
                "id": session_id, "timestamp": start.isoformat(), "cwd": cwd, "originator": "codex_cli_rs",
                "cli_version": "0.98.0", "source": "cli", "model_provider": "openai",
                "base_instructions": {"text": "You are Codex, a coding agent."},
                "git": {"commit_hash": "a" * 40, "branch": "main", "repository_url": "https://example.org/r.git"},
            } | meta,
        )  # fmt: skip
        self.item(
            "message", role="developer", content=[_in("<permissions instructions>never</permissions instructions>")]
        )
        self.item(
            "message",
            role="user",
            content=[
                _in(f"# AGENTS.md instructions for {cwd}\n\n<INSTRUCTIONS>\nUse beads.\n</INSTRUCTIONS>"),
                _in(f"<environment_context>\n  <cwd>{cwd}</cwd>\n</environment_context>"),
            ],
        )
        self.add("turn_context", cwd=cwd, model=model, approval_policy="never", summary="auto")

    def add(self, type_: str, **payload: Any) -> None:
        self.now += self.step
        at = self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.lines.append({"timestamp": at, "type": type_, "payload": payload})

    def item(self, type_: str, **fields: Any) -> None:
        self.add("response_item", type=type_, **fields)

    def event(self, type_: str, **fields: Any) -> None:
        self.add("event_msg", type=type_, **fields)

    def user(self, text: str) -> None:
        self.item("message", role="user", content=[_in(text)])
        self.event("user_message", message=text, images=[])

    def say(self, text: str) -> None:
        self.event("agent_message", message=text)
        self.item("message", role="assistant", content=[{"type": "output_text", "text": text}])

    def think(self, text: str) -> None:
        summary = [{"type": "summary_text", "text": text}]
        self.item("reasoning", id="rs_1", summary=summary, content=None, encrypted_content="gAAAA")

    def call(self, name: str, **arguments: Any) -> str:
        self._count += 1
        ident = f"call_{self._count:020d}"
        self.item("function_call", name=name, arguments=json.dumps(arguments), call_id=ident)
        return ident

    def result(self, ident: str, output: Any) -> None:
        self.item("function_call_output", call_id=ident, output=output)

    def shell(self, command: str, output: str = "ok", code: int = 0) -> str:
        """The `shell` tool of older models: an argument vector, and JSON with an exit code."""
        ident = self.call("shell", command=["bash", "-lc", command], workdir="/w", timeout_ms=1000)
        self.result(ident, json.dumps({"output": output, "metadata": {"exit_code": code, "duration_seconds": 0.1}}))
        return ident

    def exec(self, command: str, output: str = "ok", code: int = 0) -> str:
        """The unified exec tool of newer models."""
        ident = self.call("exec_command", cmd=command, yield_time_ms=1000)
        head = f"Chunk ID: 3ff00e\nWall time: 0.0521 seconds\nProcess exited with code {code}\n"
        self.result(ident, f"{head}Original token count: 2\nOutput:\n{output}")
        return ident

    def encode(self) -> bytes:
        return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)

    def write(self, codex_home: Path) -> Path:
        folder = codex_home / "sessions" / "2026" / "03" / "05"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"rollout-2026-03-05T10-00-00-{self.session_id}.jsonl"
        path.write_bytes(self.encode())
        return path


def _in(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}
