"""Claude Code's transcripts: found by session id, peeked at, and read whole into pieces of conversation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from gtftd.town.branches import kept
from gtftd.town.claude_lines import Record, moment, read_record
from gtftd.town.conversation import Line, Transcript, TranscriptHead
from gtftd.town.jsonl import clean, read_objects

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_PEEK_LINES = 50


def read_claude(path: Path, *, max_line_bytes: int) -> Transcript:
    """Read a session. Raises OSError. Blocks for as long as the file is long. Memory is that of the file's text."""
    problems: Counter[str] = Counter()
    told = _Told()
    records: list[Record] = []
    waiting: Counter[str] = Counter()
    skipped: list[Mapping[str, int]] = []
    uuids: set[str] = set()
    for item in read_objects(path, waiting, max_line_bytes=max_line_bytes):
        record = read_record(item)
        told.hear(item)
        if record.uuid in uuids and record.uuid is not None:
            waiting["duplicate"] += 1
            continue
        if item.get("type") == "summary" and item.get("leafUuid") not in uuids:
            waiting["foreign_summary"] += 1  # Claude Code writes summaries of other sessions into ours
            continue
        if record.uuid:
            uuids.add(record.uuid)
        records.append(record)
        skipped.append(dict(waiting))
        problems.update(waiting)
        waiting.clear()
    problems.update(waiting)
    lines = _lines(records, skipped, problems)
    models = tuple(dict.fromkeys(line.model for line in lines if line.model))
    return Transcript(told.session(path), models, told.cwd, told.version, told.git_branch, lines, dict(problems))


def head_of(items: Iterable[Mapping[str, object]], path: Path) -> TranscriptHead | None:
    """What the first lines say; None when they name no session."""
    told = _Told()
    for count, item in enumerate(items):
        told.hear(item)
        if count >= _PEEK_LINES or (told.ids and told.cwd and told.started_at):
            break
    session = told.session(path)
    if session is None:
        return None
    return TranscriptHead(session, told.cwd, told.started_at, told.version, told.git_branch)


def find_claude(session_id: str, claude_dirs: Iterable[Path]) -> Path | None:
    """The session's file under any project of any account; the one written last when there are several.

    The name of the project folder is never computed: three programs compute it in three ways.
    """
    if not _SESSION_ID.fullmatch(session_id):
        return None
    found: list[tuple[int, Path]] = []
    for folder in claude_dirs:
        for path in _projects(folder):
            candidate = path / f"{session_id}.jsonl"
            try:
                found.append((candidate.stat().st_mtime_ns, candidate))
            except OSError:
                continue
    return max(found)[1] if found else None


def _projects(claude_dir: Path) -> list[Path]:
    try:
        return list((claude_dir / "projects").iterdir())
    except OSError:
        return []


class _Told:
    """What the lines say of their session, the first word of each kind."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.cwd: str | None = None
        self.version: str | None = None
        self.git_branch: str | None = None
        self.started_at = moment(None)

    def hear(self, item: Mapping[str, object]) -> None:
        session = item.get("sessionId")
        if isinstance(session, str) and _SESSION_ID.fullmatch(session):
            self.ids.setdefault(session)
        self.cwd = self.cwd or _short(item.get("cwd"))
        self.version = self.version or _short(item.get("version"))
        self.git_branch = self.git_branch or _short(item.get("gitBranch"))
        self.started_at = self.started_at or moment(item.get("timestamp"))

    def session(self, path: Path) -> str | None:
        """The file's name when a line agrees (a resumed session repeats others' lines), else the first id."""
        return path.stem if path.stem in self.ids else next(iter(self.ids), None)


def _lines(records: list[Record], skipped: list[Mapping[str, int]], problems: Counter[str]) -> tuple[Line, ...]:
    """Number the pieces of the kept records; what was left out is told with the next piece."""
    lines: list[Line] = []
    waiting: Counter[str] = Counter()
    for record, before, keep in zip(records, skipped, kept(records), strict=True):
        waiting.update(before)
        problems.update(record.dropped)
        waiting.update(record.dropped)
        if record.pieces and not keep:
            problems["abandoned"] += 1
            continue
        for piece in record.pieces:
            lines.append(
                Line(
                    index=len(lines),
                    message=piece.message,
                    uuid=record.uuid,
                    message_id=piece.message_id,
                    model=piece.model,
                    thinking=piece.thinking,
                    dropped=dict(waiting),
                )
            )
            waiting.clear()
    return tuple(lines)


def _short(value: object) -> str | None:
    return clean(value) if isinstance(value, str) and 0 < len(value) <= 4096 else None
