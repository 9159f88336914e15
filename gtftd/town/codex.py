"""Codex CLI's rollouts (`sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl`): found, peeked at, and read whole."""

from __future__ import annotations

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from gtftd.town.claude_lines import moment
from gtftd.town.codex_items import kind_of, read_call, read_result, reasoning, short, texts
from gtftd.town.conversation import LineList, RawMessage, Transcript, TranscriptHead
from gtftd.town.jsonl import read_objects

SESSION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FOLDERS = ("sessions", "archived_sessions")
_LINES = frozenset({"session_meta", "response_item", "turn_context", "event_msg", "compacted"})
_BOOKKEEPING = frozenset({"turn_context", "event_msg", "world_state", "security_risk_score", "realtime_item"})
_BOOKKEEPING_ITEMS = frozenset({"additional_tools", "ghost_snapshot", "compaction_trigger"})
_SERVER_ITEMS = frozenset({"web_search_call", "image_generation_call", "tool_search_call", "tool_search_output"})
_ENCRYPTED_ITEMS = frozenset({"compaction", "compaction_summary", "context_compaction"})
_OTHER_AGENTS = frozenset({"inter_agent_communication", "inter_agent_communication_metadata"})


def is_rollout_line(item: Mapping[str, object]) -> bool:
    """Whether a line is one of Codex's: `{timestamp, type, payload}`."""
    return isinstance(item.get("payload"), dict) and item.get("type") in _LINES


def read_rollout(path: Path, *, max_line_bytes: int) -> Transcript:
    """Read a session; one of a sub-agent has no lines. Raises OSError. Blocks for as long as the file is long."""
    reader = _Reader()
    skipped: Counter[str] = Counter()
    for item in read_objects(path, skipped, max_line_bytes=max_line_bytes):
        reader.lines.count(skipped)
        reader.hear(item)
    reader.lines.count(skipped)
    reader.finish()
    meta = reader.meta
    return Transcript(
        session_id=meta.session_id,
        models=tuple(reader.lines.models),
        cwd=meta.cwd,
        version=meta.version,
        git_branch=meta.git_branch,
        lines=reader.lines.lines(),
        problems=dict(reader.lines.problems),
        agent_program="codex",
    )


def head_of(items: Iterable[Mapping[str, object]]) -> TranscriptHead | None:
    """What the first lines say; None when they name no session, or one of a sub-agent."""
    meta = _Meta()
    for item in items:
        payload = item.get("payload")
        if item.get("type") == "session_meta" and isinstance(payload, dict):
            meta.hear(payload, moment(item.get("timestamp")))
            break
    if meta.session_id is None or meta.is_subagent:
        return None
    return TranscriptHead(meta.session_id, meta.cwd, meta.started_at, meta.version, meta.git_branch, meta.git_head)


def rollout_files(codex_dirs: Iterable[Path]) -> Iterator[Path]:
    """Every rollout, those that were archived too; a compressed one (`.jsonl.zst`) is none."""
    for folder in codex_dirs:
        for name in _FOLDERS:
            for here, _, files in os.walk(folder / name):
                yield from (Path(here, file) for file in fnmatch.filter(files, "rollout-*.jsonl"))


def find_rollout(session_id: str, codex_dirs: Iterable[Path]) -> Path | None:
    """The session's file; the one written last when there are several."""
    if not SESSION_ID.fullmatch(session_id):
        return None
    found = []
    for path in rollout_files(codex_dirs):
        if path.name.endswith(f"-{session_id}.jsonl"):
            try:
                found.append((path.stat().st_mtime_ns, path))
            except OSError:
                continue
    return max(found)[1] if found else None


class _Meta:
    """The file's own header: the first `session_meta`. A forked session repeats those of its ancestors."""

    def __init__(self) -> None:
        self.session_id: str | None = None
        self.cwd: str | None = None
        self.version: str | None = None
        self.git_branch: str | None = None
        self.git_head: str | None = None
        self.started_at: datetime | None = None
        self.is_subagent = False

    def hear(self, payload: Mapping[str, object], at: datetime | None) -> None:
        ident = short(payload.get("id"))
        self.session_id = ident if ident and SESSION_ID.fullmatch(ident) else None
        self.cwd = short(payload.get("cwd"))
        self.version = short(payload.get("cli_version"))
        self.started_at = moment(payload.get("timestamp")) or at
        source = payload.get("source")
        named = isinstance(source, dict) and ("subagent" in source or "sub_agent" in source)
        self.is_subagent = named or payload.get("thread_source") == "subagent"
        git = payload.get("git")
        if isinstance(git, dict):
            self.git_branch, self.git_head = short(git.get("branch")), short(git.get("commit_hash"))


class _Reader:
    """Turns lines into pieces of conversation, in the file's order."""

    def __init__(self) -> None:
        self.meta = _Meta()
        self.lines = LineList()
        self._has_meta = False
        self._model: str | None = None
        self._thinking: list[str] = []
        self._message_id: str | None = None
        """Items of the model between two answers or prompts are one message."""
        self._prompts: list[int] = []

    def hear(self, item: Mapping[str, object]) -> None:
        payload = item.get("payload")
        if not isinstance(payload, dict):
            self.lines.drop("unknown_type")
            return
        at = moment(item.get("timestamp"))
        match item.get("type"):
            case "session_meta":
                self._header(payload, at)
            case _ if self.meta.is_subagent:
                self.lines.drop("sidechain")
            case "response_item":
                self._item(payload, at)
            case "compacted":
                text = "".join(texts(payload.get("message"), Counter())) or "Conversation compacted"
                self._say(RawMessage("system", text, at=at, kind="compaction"))
            case "event_msg" if payload.get("type") == "thread_rolled_back":
                self._roll_back(payload.get("num_turns"))
            case str() as name if name in _BOOKKEEPING:
                if name == "turn_context":
                    self._model = short(payload.get("model")) or self._model
                self.lines.drop("bookkeeping")
            case str() as name if name in _OTHER_AGENTS:
                self.lines.drop("sidechain")
            case _:
                self.lines.drop("unknown_type")

    def finish(self) -> None:
        """Reasoning that nothing followed."""
        self._flush_thinking(None)

    def _header(self, payload: Mapping[str, object], at: datetime | None) -> None:
        if self._has_meta:
            self.lines.drop("bookkeeping" if payload.get("id") == self.meta.session_id else "foreign_meta")
            return
        self._has_meta = True
        self.meta.hear(payload, at)

    def _item(self, item: Mapping[str, object], at: datetime | None) -> None:
        dropped: Counter[str] = Counter()
        match item.get("type"):
            case "message":
                self._message(item, at, dropped)
            case "reasoning":
                dropped["thinking"] += 1
                self._thinking.append(reasoning(item))
            case "function_call" | "custom_tool_call" | "local_shell_call":
                self._assistant(RawMessage("assistant", tool_calls=(read_call(item, dropped),), trainable=True, at=at))
            case "function_call_output" | "custom_tool_call_output":
                result = read_result(item, dropped)
                ident = short(item.get("call_id")) or ""
                self._say(RawMessage("tool", result.content, (), ident, result.is_error, at=at))
            case "agent_message":
                dropped["sidechain"] += 1
            case str() as name if name in _SERVER_ITEMS:
                dropped["server_tool"] += 1
            case str() as name if name in _ENCRYPTED_ITEMS:
                dropped["encrypted"] += 1
            case str() as name if name in _BOOKKEEPING_ITEMS:
                dropped["bookkeeping"] += 1
            case _:
                dropped["unknown_type"] += 1
        self.lines.count(dropped)

    def _message(self, item: Mapping[str, object], at: datetime | None, dropped: Counter[str]) -> None:
        said = [text for text in texts(item.get("content"), dropped) if text]
        match item.get("role"):
            case "assistant":
                if said:
                    self._assistant(RawMessage("assistant", "\n\n".join(said), trainable=True, at=at))
            case "user":
                self._prompt(said, at)
            case "developer" | "system":
                for text in said:
                    self._say(RawMessage("system", text, at=at, kind="meta"))
            case _:
                dropped["unknown_type"] += 1

    def _prompt(self, said: list[str], at: datetime | None) -> None:
        first = len(self.lines)
        kinds = [kind_of(text) for text in said]
        for text, kind in zip(said, kinds, strict=True):
            self._say(RawMessage("user", text, at=at, kind=kind))
        if "turn" in kinds:
            self._prompts.append(first)

    def _assistant(self, message: RawMessage) -> None:
        if self._message_id is None:
            self._message_id = f"turn-{len(self.lines)}"
        thinking = "\n\n".join(text for text in self._thinking if text)
        self._thinking.clear()
        self.lines.add(message, message_id=self._message_id, model=self._model, thinking=thinking)

    def _say(self, message: RawMessage) -> None:
        self._flush_thinking(message.at)
        self._message_id = None
        self.lines.add(message)

    def _flush_thinking(self, at: datetime | None) -> None:
        if any(self._thinking):
            self._assistant(RawMessage("assistant", at=at))
        self._thinking.clear()

    def _roll_back(self, turns: object) -> None:
        """The person took back their last prompts and all that followed."""
        if not isinstance(turns, int) or isinstance(turns, bool) or turns < 1 or not self._prompts:
            self.lines.drop("bookkeeping")
            return
        self._thinking.clear()
        self._message_id = None
        first = self._prompts[max(len(self._prompts) - turns, 0)]
        del self._prompts[max(len(self._prompts) - turns, 0) :]
        gone = len(self.lines) - first
        self.lines.cut(first)
        self.lines.drop("abandoned", gone)
