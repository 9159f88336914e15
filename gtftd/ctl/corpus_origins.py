"""Where an entry came from and why it is as it is, gathered from the entry, `state.db`, transcripts and snapshots."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gtftd.control.listing import reading
from gtftd.corpus.snapshot import list_snapshots, where
from gtftd.corpus.stale import stale_uses
from gtftd.schemas.corpus import Entry, Message
from gtftd.schemas.corpus_views import DoubtExplained, EntryRow, ExplainResult, InSnapshot, StaleCommand, TurnExplained
from gtftd.town.conversation import RawCall, RawMessage

_TIMESTAMP = re.compile(rb'"timestamp":\s*"([0-9T:.Z+-]{10,40})"')
_SESSION = "SELECT seen_by, transcript_path FROM sessions WHERE session_id = ?"
_DOUBTS = """
SELECT d.digest, d.placeholder, d.kind, d.rule, d.message, coalesce(v.verdict, '')
FROM doubts d LEFT JOIN verdicts v USING (digest) WHERE d.entry_id = ? ORDER BY d.message, d.digest
"""


def explain_entry(state_dir: Path, row: EntryRow, entry: Entry) -> ExplainResult:
    """`entry` is whole: its texts that are stored once stand in it."""
    with reading(state_dir) as connection:
        told_by, transcript = _session(connection, state_dir, entry)
        doubts = connection.execute(_DOUBTS, (row.entry_id,)).fetchall()
        retired = _retired(connection, entry.rig)
        (audited,) = connection.execute("SELECT audited FROM entries WHERE entry_id = ?", (row.entry_id,)).fetchone()
    lines = lines_said_at(transcript, [message.at for message in entry.messages if message.at]) if transcript else {}
    names = ("digest", "placeholder", "kind", "rule", "message", "verdict")
    return ExplainResult(
        entry_id=row.entry_id,
        sha256=row.sha256,
        kind=entry.kind,
        origin=entry.origin,
        source=entry.source,
        cut=entry.cut,
        told_by=told_by,
        transcript=str(transcript) if transcript else None,
        git_head=entry.git_head,
        label=entry.outcome.label,
        confidence=entry.outcome.confidence,
        facts=entry.outcome.evidence,
        failures=entry.outcome.failures,
        conventions=entry.conventions,
        turns=tuple(_turn(number, message, lines) for number, message in enumerate(entry.messages)),
        redactions=entry.redactions,
        scrubber=entry.scrubber,
        audited=audited,
        doubts=tuple(DoubtExplained(**dict(zip(names, doubt, strict=True))) for doubt in doubts),
        stale=_stale(entry.messages, retired),
        snapshots=_snapshots(state_dir, row.entry_id),
    )


def lines_said_at(path: Path, moments: Collection[datetime]) -> dict[datetime, int]:
    """The first line, from 1, that bears each of these times; nothing for a transcript that is no lines of JSON."""
    wanted = set(moments)
    found: dict[datetime, int] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                for match in _TIMESTAMP.finditer(line):
                    at = _moment(match[1])
                    if at in wanted:
                        found.setdefault(at, number)
    except OSError:
        return {}
    return found


def _session(connection: sqlite3.Connection, state_dir: Path, entry: Entry) -> tuple[str, Path | None]:
    """Who told of it, and what is there of its transcript: the file itself, or its second name in the spool."""
    row = connection.execute(_SESSION, (entry.session_id,)).fetchone()
    if entry.session_id is None or row is None:
        return "", None
    told_by, named = row
    second = state_dir / "spool" / "transcripts" / f"{Path(entry.session_id).name}.jsonl"
    paths = [*([Path(named)] if named else []), second]
    return told_by, next((path for path in paths if path.exists()), None)


def _retired(connection: sqlite3.Connection, rig: str | None) -> dict[str, datetime]:
    rows = connection.execute("SELECT command, since FROM retired_commands WHERE rig IN ('', ?)", (rig or "",))
    return {command: datetime.fromtimestamp(since, UTC) for command, since in rows}


def _turn(number: int, message: Message, lines: Mapping[datetime, int]) -> TurnExplained:
    return TurnExplained(
        message=number,
        role=message.role,
        line=lines.get(message.at) if message.at else None,
        trainable=message.trainable,
        masked=message.masked,
        violations=message.violations,
        task=message.task,
    )


def _stale(messages: Sequence[Message], retired: Mapping[str, datetime]) -> tuple[StaleCommand, ...]:
    uses = stale_uses([_raw(message) for message in messages], retired)
    return tuple(
        StaleCommand(
            message=use.message,
            command=use.command,
            replacement=use.replacement,
            since=use.since.isoformat() if use.since else None,
        )
        for use in uses
    )


def _raw(message: Message) -> RawMessage:
    calls = tuple(RawCall(call.id, call.name, call.arguments) for call in message.tool_calls)
    return RawMessage(message.role, message.content, calls, message.tool_call_id, is_error=message.is_error)


def _snapshots(state_dir: Path, entry_id: str) -> tuple[InSnapshot, ...]:
    tainted = {row.id for row in list_snapshots(state_dir) if row.tainted}
    return tuple(
        InSnapshot(**told.model_dump(), tainted=told.snapshot in tainted) for told in where(state_dir, entry_id)
    )


def _moment(text: bytes) -> datetime | None:
    try:
        at = datetime.fromisoformat(text.decode("ascii"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
