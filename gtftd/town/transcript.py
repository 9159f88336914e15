"""What the agents of a town said: found, peeked at and read, whichever program they ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from gtftd.town import claude_transcripts, codex, opencode, opencode_store
from gtftd.town.conversation import Line, Program, RawCall, RawMessage, Transcript, TranscriptHead, merge
from gtftd.town.jsonl import MAX_LINE_BYTES, read_objects
from gtftd.town.layout import TranscriptPlaces

__all__ = [
    "Line", "RawCall", "RawMessage", "State", "Transcript", "TranscriptHead",
    "find_transcript", "merge", "peek_transcript", "program_of", "read_transcript", "state_of", "written_at",
]  # fmt: skip

_PEEK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class State:
    """A transcript at one moment: equal states have equal content."""

    path: Path
    inode: int
    size_bytes: int
    mtime_ns: int
    digest: str = ""
    """Of what is known of many files or rows, where one inode does not say it."""


def read_transcript(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Transcript:
    """Read a session. Nothing that it holds can make it fail; only the file system can (OSError).

    Blocks for as long as the transcript is long: call it in a thread. Memory is that of its text.
    """
    match program_of(path):
        case "opencode":
            return opencode.read_session(path, max_bytes=max_line_bytes)
        case "codex":
            return codex.read_rollout(path, max_line_bytes=max_line_bytes)
        case "claude-code":
            return claude_transcripts.read_claude(path, max_line_bytes=max_line_bytes)


def peek_transcript(path: Path) -> TranscriptHead | None:
    """What its beginning says; None when it names no session. Reads 1 MiB at most. Raises OSError."""
    if opencode_store.in_files(path):
        return opencode.peek_session(path)
    items = _first_objects(path)
    first = next(items, None)
    if first is None:
        return None
    if _is_codex(path, first):
        return codex.head_of(chain((first,), items))
    return claude_transcripts.head_of(chain((first,), items), path)


def find_transcript(session_id: str, places: TranscriptPlaces) -> Path | None:
    """Where a session's transcript is, in the places of every program; the first program that has it."""
    return (
        claude_transcripts.find_claude(session_id, places.claude)
        or codex.find_rollout(session_id, places.codex)
        or opencode.find_session(session_id, places.opencode, places.opencode_database)
    )


def program_of(path: Path) -> Program:
    """Which program wrote a transcript: by its place, or, for lines of JSON, by the first of them. Raises OSError."""
    if opencode_store.in_files(path) or opencode_store.in_database(path):
        return "opencode"
    return "codex" if _is_codex(path, next(_first_objects(path), None)) else "claude-code"


def state_of(path: Path) -> State | None:
    """The transcript's state now; None for what is none, or is not there."""
    try:
        if opencode_store.in_files(path) or opencode_store.in_database(path):
            mark = opencode_store.mark(path)
            if mark is None:
                return None
            return State(path, 0, mark.size_bytes, int(mark.written_at * 1e9), mark.digest)
        if path.suffix == ".jsonl" and path.is_file():
            status = path.stat()
            return State(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):
        return None
    return None


def written_at(path: Path) -> float | None:
    """When the transcript was written last, Unix seconds; None where there is none."""
    try:
        if opencode_store.in_files(path) or opencode_store.in_database(path):
            mark = opencode_store.mark(path)
            return None if mark is None else mark.written_at
        return path.stat().st_mtime
    except (OSError, ValueError):
        return None


def _is_codex(path: Path, first: dict[str, object] | None) -> bool:
    """By the name; a second name of the file, as in our spool, says nothing, so then by the first line."""
    return path.name.startswith("rollout-") or (first is not None and codex.is_rollout_line(first))


def _first_objects(path: Path) -> Iterator[dict[str, object]]:
    return read_objects(path, Counter(), max_line_bytes=_PEEK_BYTES, limit_bytes=_PEEK_BYTES)
