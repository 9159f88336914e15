"""What a session finds in its own folder and on its stdin: the hook's input, gt's checkpoint, a handoff."""

from __future__ import annotations

import json
import os
import select
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CHECKPOINT = ".polecat-checkpoint.json"
_HANDOFF = Path(".runtime") / "handoff_to_successor"
_STALE = timedelta(hours=24)
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class HookInput:
    """What Claude Code gave its hook; `raw` is passed on as it came."""

    raw: bytes = b""
    is_understood: bool = False
    event: str = ""
    source: str = ""
    """startup, resume, clear or compact."""


def read_hook_input(descriptor: int = 0, *, within_s: float = 1.0) -> HookInput:
    """Until the end, or for so long: gt itself reads a line and does not wait for an end. A terminal has no input."""
    raw = bytearray()
    until = time.monotonic() + within_s
    if not os.isatty(descriptor):
        while (left := until - time.monotonic()) > 0 and len(raw) < _MAX_BYTES:
            ready, _, _ = select.select([descriptor], [], [], left)
            if not ready or not (piece := os.read(descriptor, 65_536)):
                break
            raw += piece
    return parse_hook_input(bytes(raw))


def parse_hook_input(raw: bytes) -> HookInput:
    """By the first line, as gt does."""
    try:
        told = json.loads(raw.split(b"\n", 1)[0])
    except (ValueError, RecursionError):
        return HookInput(raw)
    if not isinstance(told, dict):
        return HookInput(raw)
    event, source = told.get("hook_event_name"), told.get("source")
    return HookInput(raw, True, event if isinstance(event, str) else "", source if isinstance(source, str) else "")


def has_handoff(cwd: Path) -> bool:
    """Did this agent's predecessor hand off, and gt has not told so yet?"""
    return os.path.lexists(cwd / _HANDOFF)


def step_at_hand(cwd: Path, now: datetime | None = None) -> str | None:
    """The formula's step that gt's checkpoint names; None without one that is younger than a day, as gt has it."""
    try:
        with (cwd / _CHECKPOINT).open("rb") as file:
            told = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    step, at = told.get("current_step"), told.get("timestamp")
    if not isinstance(step, str) or not step or len(step) > 200 or not isinstance(at, str):
        return None
    written = _moment(at)
    return step if written is not None and (now or datetime.now(UTC)) - written < _STALE else None


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
