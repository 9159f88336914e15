"""What the lines of gt's event feed, `.events.jsonl`, mean (gastown.md 2)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import from_json

from gtftd.errors import Invalid
from gtftd.schemas.town import (
    AgentNudged,
    BeadAssigned,
    BeadReleased,
    EscalationSent,
    GtLogged,
    SessionEnded,
    SessionsDied,
    SessionStarted,
    TownEvent,
)
from gtftd.town.identity import Identity, normal_actor, parse_role

MAX_PAYLOAD_BYTES = 64 * 1024
_NAME_CHARS = 256
_REASON_CHARS = 2000
_PATH_CHARS = 4096
_MOST_SESSIONS = 200
_BEAD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}(?:-[A-Za-z0-9_]+){1,6}(?:\.\d+)*")
_ORDERLY = ("idle-reap:", "self-clean:", "user shutdown", "gt exit:")
"""How reasons begin that gt gives for an end in good order; a crash, a forced kill, a zombie is a death."""


class BadLine(Invalid):
    """A line that says nothing; `kind` is a constant name for the metric."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message, kind=kind)
        self.kind = kind


@dataclass(frozen=True)
class FeedLine:
    """One line as gt wrote it. gt gives no id: `digest`, of what it says, stands for one."""

    at: datetime
    type: str
    actor: str
    payload: dict[str, object]
    digest: str


def parse_line(content: bytes) -> FeedLine:
    """Raises BadLine. Hostile text is safe here: nesting is bounded, lone surrogates are refused."""
    if b"\0" in content:
        raise BadLine("line.nul", "the line holds NUL bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadLine("line.not_utf8", f"the line is not UTF-8: {error.reason}") from error
    try:
        said = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadLine("line.not_json", f"the line is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise BadLine("line.not_object", f"the line holds a JSON {type(said).__name__}, not an object")
    kind, actor, payload = said.get("type"), said.get("actor"), said.get("payload")
    if not isinstance(kind, str) or not kind:
        raise BadLine("line.no_type", "the line has no type")
    at = _moment(said.get("ts"))
    identity = json.dumps([said["ts"], kind, actor, payload], sort_keys=True)
    return FeedLine(
        at=at,
        type=kind,
        actor=actor if isinstance(actor, str) else "",
        payload=payload if isinstance(payload, dict) else {} if payload is None else {"value": payload},
        digest=hashlib.sha256(identity.encode()).hexdigest()[:32],
    )


def to_event(line: FeedLine) -> TownEvent:
    """The fact in a line; what is not understood fully stays a GtLogged."""
    reader = _READERS.get(line.type)
    return (reader(line) if reader else None) or _logged(line)


def _sling(line: FeedLine) -> TownEvent | None:
    """`target` may be a rig: then the polecat is not known yet."""
    bead, agent = _name(line, "bead"), _agent(_name(line, "target"))
    if bead is None or agent is None:
        return None
    by = normal_actor(line.actor[:_NAME_CHARS])
    return BeadAssigned(at=line.at, seen_by="feed", bead=bead, actor=agent.actor, by=by)


def _hook(line: FeedLine) -> TownEvent | None:
    bead, actor = _name(line, "bead"), _actor(line)
    if bead is None or actor is None:
        return None
    return BeadAssigned(at=line.at, seen_by="feed", bead=bead, actor=actor)


def _unhook(line: FeedLine) -> TownEvent | None:
    bead, actor = _name(line, "bead"), _actor(line)
    if bead is None or actor is None:
        return None
    return BeadReleased(at=line.at, seen_by="feed", bead=bead, actor=actor, how="unhook")


def _done(line: FeedLine) -> TownEvent | None:
    bead, actor = _name(line, "bead"), _actor(line)
    if bead is None or actor is None:
        return None
    return BeadReleased(at=line.at, seen_by="feed", bead=bead, actor=actor, how="done")


def _session_start(line: FeedLine) -> TownEvent | None:
    session = _name(line, "session_id")
    if session is None or len(session) > 128:
        return None
    who = _agent(_name(line, "role")) or _agent(line.actor[:_NAME_CHARS])
    cwd = line.payload.get("cwd")
    return SessionStarted(
        at=line.at,
        seen_by="feed",
        session_id=session,
        role=who.role if who else None,
        rig=who.rig if who else None,
        actor=who.actor if who else _actor(line),
        cwd=cwd if isinstance(cwd, str) and 0 < len(cwd) <= _PATH_CHARS else None,
    )


def _session_death(line: FeedLine) -> TownEvent | None:
    session, reason = _name(line, "session"), line.payload.get("reason")
    if session is None:
        return None
    told = reason[:_REASON_CHARS] if isinstance(reason, str) and reason else "unknown"
    died = not told.startswith(_ORDERLY)
    return SessionEnded(at=line.at, seen_by="feed", tmux_session=session, reason=told, died=died)


def _escalation_sent(line: FeedLine) -> TownEvent | None:
    """`target` or `source` may name the bead that it is about."""
    actor = _actor(line)
    if actor is None:
        return None
    named = [name for key in ("bead", "source", "target") if (name := _name(line, key)) and _BEAD.fullmatch(name)]
    return EscalationSent(at=line.at, seen_by="feed", actor=actor, bead=named[0] if named else None)


def _nudge(line: FeedLine) -> TownEvent | None:
    """`target` is an address, or the bare name of a polecat or crew of `rig`."""
    target, rig = _name(line, "target"), _name(line, "rig")
    agent = _agent(target) or _agent(f"{rig}/{target}") or _agent(f"{rig}/polecats/{target}")
    if target is None or agent is None:
        return None
    return AgentNudged(at=line.at, seen_by="feed", actor=agent.actor, by=normal_actor(line.actor[:_NAME_CHARS]))


def _mass_death(line: FeedLine) -> TownEvent | None:
    named = line.payload.get("sessions")
    sessions = named if isinstance(named, list) else str(named or "").split(",")
    found = [name.strip() for name in sessions if isinstance(name, str) and 0 < len(name.strip()) <= _NAME_CHARS]
    return SessionsDied(at=line.at, seen_by="feed", tmux_sessions=tuple(found[:_MOST_SESSIONS])) if found else None


_READERS = {
    "escalation_sent": _escalation_sent,
    "nudge": _nudge,
    "mass_death": _mass_death,
    "sling": _sling,
    "hook": _hook,
    "unhook": _unhook,
    "done": _done,
    "session_start": _session_start,
    "session_death": _session_death,
}


def _logged(line: FeedLine) -> GtLogged:
    return GtLogged(
        at=line.at,
        seen_by="feed",
        type=line.type[:_NAME_CHARS],
        actor=line.actor[:_NAME_CHARS],
        payload=_cut(line.payload),
    )


def _cut(payload: dict[str, object]) -> dict[str, object]:
    """The payload, without its largest values when it is too large; `gtftd_cut` says how many are missing."""
    sizes = {key: len(json.dumps({key: value}, ensure_ascii=False).encode()) for key, value in payload.items()}
    left = MAX_PAYLOAD_BYTES
    if sum(sizes.values()) <= left:
        return payload
    kept = set()
    for key in sorted(sizes, key=sizes.__getitem__):
        left -= sizes[key]
        if left < 0:
            break
        kept.add(key)
    whole = {key: value for key, value in payload.items() if key in kept}
    return whole | {"gtftd_cut": len(payload) - len(whole)}


def _agent(value: str | None) -> Identity | None:
    """An agent that the value names in full; None for a rig, a pool of dogs, a stranger."""
    who = parse_role(value) if value else None
    if who is None:
        return None
    needs_rig = who.role in ("witness", "refinery", "polecat", "crew")
    needs_name = who.role in ("polecat", "crew", "dog")
    return None if (needs_rig and not who.rig) or (needs_name and not who.name) else who


def _actor(line: FeedLine) -> str | None:
    return normal_actor(line.actor) if len(line.actor) <= _NAME_CHARS else None


def _name(line: FeedLine, key: str) -> str | None:
    value = line.payload.get(key)
    return value if isinstance(value, str) and 0 < len(value) <= _NAME_CHARS else None


def _moment(value: object) -> datetime:
    """RFC 3339 with an offset; Go writes up to nine digits of a second, of which six are kept."""
    if not isinstance(value, str):
        raise BadLine("line.bad_ts", "the line has no ts")
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise BadLine("line.bad_ts", f"ts {value!r:.60} has no offset from UTC")
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadLine("line.bad_ts", f"ts {value!r:.60} is no RFC 3339 time") from error
