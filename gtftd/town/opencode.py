"""OpenCode's sessions, from its JSON files and from its database: found, listed, and read whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from gtftd.town.conversation import Kind, LineList, RawCall, RawMessage, Transcript, TranscriptHead
from gtftd.town.jsonl import clean
from gtftd.town.opencode_database import Held, has_session, list_database
from gtftd.town.opencode_store import databases, hold, read_head, session_files

_BOOKKEEPING = frozenset({"step-start", "step-finish", "snapshot", "patch", "retry", "agent", "subtask"})
_LATEST_MS = 253_402_300_799_000  # the end of the year 9999


def read_session(path: Path, *, max_bytes: int) -> Transcript:
    """Read a session; a sub-session has no lines. Raises OSError. Blocks for as long as the session is long."""
    problems: Counter[str] = Counter()
    held = hold(path, problems, max_bytes)
    reader = _Reader()
    reader.lines.count(problems)
    if held.session.get("parentID"):
        reader.lines.drop("sidechain", len(held.messages))
    else:
        for message, parts in _kept(held, reader.lines):
            reader.hear(message, parts)
    return Transcript(
        session_id=path.stem,
        models=tuple(reader.lines.models),
        cwd=_short(held.session.get("directory")) or reader.cwd,
        version=_short(held.session.get("version")),
        lines=reader.lines.lines(),
        problems=dict(reader.lines.problems),
        agent_program="opencode",
    )


def peek_session(path: Path) -> TranscriptHead | None:
    """What the session's own file says; None for sub-sessions and for what names no folder. Raises OSError."""
    said = read_head(path)
    if said is None or said.get("parentID"):
        return None
    time = said.get("time")
    started = _moment(time.get("created")) if isinstance(time, dict) else None
    return TranscriptHead(path.stem, _short(said.get("directory")), started, _short(said.get("version")))


def sessions_in_database(path: Path, since: float, limit: int) -> list[tuple[Path, TranscriptHead]]:
    """Sessions that were touched after `since`, with the path that names each. Raises OSError."""
    return [
        (one.path, TranscriptHead(one.session_id, one.directory, _moment(one.created_ms), one.version))
        for one in list_database(path, since, limit)
    ]


def find_session(session_id: str, folders: Iterable[Path], named: Path | None = None) -> Path | None:
    """Where the session is; a database before the files that it was migrated from."""
    if not session_id.startswith("ses_") or not session_id[4:].isalnum():
        return None
    folders = list(folders)
    for folder in folders:
        for database in databases(folder, named):
            if has_session(database, session_id):
                return database / session_id
    files = (path for folder in folders for path in session_files(folder) if path.stem == session_id)
    return next(files, None)


def _kept(held: Held, lines: LineList) -> Iterator[tuple[Mapping[str, object], tuple[Mapping[str, object], ...]]]:
    """The messages with their parts, without what the person took back and has not yet written over."""
    revert = held.session.get("revert")
    until = revert.get("messageID") if isinstance(revert, dict) else None
    part_id = revert.get("partID") if isinstance(revert, dict) else None
    for number, message in enumerate(held.messages):
        parts = held.parts.get(str(message["id"]), ())
        if message["id"] == until:
            before = [part for part in parts if isinstance(part_id, str) and str(part["id"]) < part_id]
            if before:
                yield message, tuple(before)
            lines.drop("abandoned", len(held.messages) - number - bool(before))
            return
        yield message, parts


class _Reader:
    """Turns messages and their parts into pieces of conversation."""

    def __init__(self) -> None:
        self.lines = LineList()
        self.cwd: str | None = None

    def hear(self, message: Mapping[str, object], parts: Iterable[Mapping[str, object]]) -> None:
        at = _moment(_inside(message, "time", "created"))
        match message.get("role"):
            case "user":
                for part in parts:
                    self._prompt(part, at)
            case "assistant":
                self._answer(message, parts, at)
            case "bookkeeping":
                self.lines.drop("bookkeeping")
            case "person's shell":
                self.lines.drop("user_shell")
            case _:
                self.lines.drop("unknown_type")

    def _prompt(self, part: Mapping[str, object], at: datetime | None) -> None:
        match part.get("type"):
            case "text" if part.get("ignored") is True:
                self.lines.drop("ignored")
            case "text":
                if text := _string(part.get("text")):
                    # OpenCode writes what it read for the prompt, reminders and the like as synthetic texts.
                    kind: Kind = "meta" if part.get("synthetic") is True else "turn"
                    self.lines.add(RawMessage("user", text, at=at, kind=kind))
            case "compaction":
                self.lines.add(RawMessage("system", "Conversation compacted", at=at, kind="compaction"))
            case _:
                self._leave_out(part)

    def _answer(
        self, message: Mapping[str, object], parts: Iterable[Mapping[str, object]], at: datetime | None
    ) -> None:
        self.cwd = self.cwd or _short(_inside(message, "path", "cwd"))
        model = _short(message.get("modelID"))
        error = _inside(message, "error", "name")
        if message.get("summary") is True:
            self._summary(parts, at)
            return
        own = not error or error == "MessageAbortedError"
        kind: Kind = "turn" if own else "meta"
        if error:
            self.lines.drop("aborted" if own else "api_error")
        answers: list[RawMessage] = []
        ident = _short(message.get("id"))

        def say(said: RawMessage, thinking: str = "") -> None:
            self.lines.add(said, uuid=ident, message_id=ident, model=model if own else None, thinking=thinking)

        for part in parts:
            started = _moment(_inside(part, "time", "start")) or at
            match part.get("type"):
                case "text":
                    self._flush(answers)
                    if text := _string(part.get("text")):
                        say(RawMessage("assistant", text, trainable=own, at=started, kind=kind))
                case "reasoning":
                    self.lines.drop("thinking")
                    say(RawMessage("assistant", at=started), _string(part.get("text")))
                case "tool":
                    call, answer = self._tool(part, at)
                    say(RawMessage("assistant", "", (call,), trainable=own, at=_moment(_state(part, "start")) or at))
                    answers += [answer] if answer else []
                case _:
                    self._leave_out(part)
        self._flush(answers)

    def _summary(self, parts: Iterable[Mapping[str, object]], at: datetime | None) -> None:
        """The model's own account of what it has forgotten: it is told to it as context, like Claude Code's."""
        for part in parts:
            if part.get("type") == "text" and (text := _string(part.get("text"))):
                self.lines.add(RawMessage("system", text, at=at, kind="compaction"))
            else:
                self._leave_out(part)

    def _tool(self, part: Mapping[str, object], at: datetime | None) -> tuple[RawCall, RawMessage | None]:
        """A call, and what came of it as far as it is over."""
        state = part.get("state")
        state = state if isinstance(state, dict) else {}
        given = state.get("input")
        if not isinstance(given, dict):
            self.lines.drop("bad_input")
            given = {}
        ident = _short(part.get("callID")) or ""
        call = RawCall(ident, _short(part.get("tool")) or "", given)
        ended = _moment(_state(part, "end")) or at
        match state.get("status"):
            case "completed":
                if isinstance(state.get("attachments"), list) and state["attachments"]:
                    self.lines.drop("document", len(state["attachments"]))
                return call, RawMessage("tool", _string(state.get("output")), (), ident, _exited_badly(state), at=ended)
            case "error":
                output = _inside(state, "metadata", "output") if _inside(state, "metadata", "interrupted") else None
                said = _string(output) or _string(state.get("error"))
                return call, RawMessage("tool", said, (), ident, is_error=True, at=ended)
            case "pending" | "running":
                return call, None
            case _:
                self.lines.drop("unknown_block")
                return call, None

    def _flush(self, answers: list[RawMessage]) -> None:
        for answer in answers:
            self.lines.add(answer)
        answers.clear()

    def _leave_out(self, part: Mapping[str, object]) -> None:
        match part.get("type"):
            case str() as name if name in _BOOKKEEPING:
                self.lines.drop("bookkeeping")
            case "file":
                mime = part.get("mime")
                self.lines.drop("image" if isinstance(mime, str) and mime.startswith("image/") else "document")
            case "reasoning":
                self.lines.drop("thinking")
            case _:
                self.lines.drop("unknown_block")


def _exited_badly(state: Mapping[str, object]) -> bool:
    """The shell tool keeps the exit code in `metadata.exit`; None there is a command that was killed."""
    metadata = state.get("metadata")
    return isinstance(metadata, dict) and "exit" in metadata and metadata["exit"] != 0


def _state(part: Mapping[str, object], which: str) -> object:
    state = part.get("state")
    return _inside(state, "time", which) if isinstance(state, dict) else None


def _inside(value: Mapping[str, object], outer: str, inner: str) -> object:
    held = value.get(outer)
    return held.get(inner) if isinstance(held, dict) else None


def _moment(value: object) -> datetime | None:
    """A time in milliseconds since 1970."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _LATEST_MS:
        return None
    return datetime.fromtimestamp(value / 1000, UTC)


def _string(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""


def _short(value: object) -> str | None:
    return clean(value) if isinstance(value, str) and 0 < len(value) <= 4096 else None
