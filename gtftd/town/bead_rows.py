"""Rows of a beads database as values: history rows, issues, dependencies (gastown.md 5.4, 5.5)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from gtftd.town.bead_fields import READ_CHARS

CLOSED = "closed"
MAX_REASON = 4000
MAX_TITLE = 500
MAX_FIELDS = 40
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_KIND_FIELDS = {
    "label_added": "labels",
    "label_removed": "labels",
    "dependency_added": "dependencies",
    "dependency_removed": "dependencies",
    "commented": "comments",
    "renamed": "id",
    "created": "created",
}
Cell: TypeAlias = object
"""What a driver hands over: str, bytes, int, datetime or None."""


@dataclass(frozen=True)
class Change:
    """One history row. `was` is the status before it, `now` the one it sets; None where it does not say.

    `at` is the row's own clock, which need not be UTC (see `sources.bead_clock`).
    """

    key: str
    """`events:<id>` or `wisp_events:<id>`: unique in its database."""
    order: int
    """The id where it is a number that grows, else 0."""
    bead: str
    kind: str
    actor: str | None
    at: datetime
    was: str | None = None
    now: str | None = None
    assignee: str | None = None
    was_assignee: str | None = None
    reason: str = ""
    was_reason: str = ""
    was_closed_at: datetime | None = None
    fields: tuple[str, ...] = ()
    description: str = ""
    """As the row sets it, where it says how an agent's work ended."""
    was_description: str = ""
    """What that takes the place of, where it said so too: creating a bead leaves no text in its row."""

    @property
    def closes(self) -> bool:
        return self.now == CLOSED

    @property
    def opens(self) -> bool:
        return self.kind == "reopened" or (self.was == CLOSED and self.now not in {None, CLOSED})


@dataclass(frozen=True)
class Issue:
    """An issue or a wisp as it stands now; its times are UTC."""

    bead: str
    title: str
    issue_type: str
    status: str
    assignee: str | None
    reason: str
    closed_at: datetime | None
    updated_at: datetime | None
    created_at: datetime | None = None
    description: str = ""
    """The beginning, and only of merge requests and of agents' own beads."""

    @property
    def closed(self) -> bool:
        return self.status == CLOSED


@dataclass(frozen=True)
class ClosedBead:
    """A bead that is closed now, for the sweep."""

    database: str
    bead: str
    title: str
    issue_type: str
    assignee: str | None
    reason: str
    closed_at: datetime


@dataclass(frozen=True)
class Dependency:
    """`bead` needs (or relates to) `target`: a bead id, a wisp id, or an external reference."""

    bead: str
    target: str
    type: str


def parse_change(table: str, row: Mapping[str, Cell]) -> Change:
    """Read one row of `events` or `wisp_events`; values that are no JSON objects are plain text."""
    kind = text(row.get("event_type"))
    old, new = _object(row.get("old_value")), _object(row.get("new_value"))
    closes = kind == CLOSED
    plain = text(row.get("new_value")) if closes and new is None else ""
    fresh = new or {}
    before = old or {}
    raw_id = row.get("id")
    return Change(
        key=f"{table}:{text(raw_id)}",
        order=raw_id if isinstance(raw_id, int) else 0,
        bead=text(row.get("issue_id")),
        kind=kind,
        actor=text(row.get("actor")) or None,
        at=moment(row.get("created_at")) or datetime.fromtimestamp(0, UTC),
        was=_string(before, "status"),
        now=CLOSED if closes else _string(fresh, "status"),
        assignee=_string(fresh, "assignee"),
        was_assignee=_string(before, "assignee"),
        reason=plain[:MAX_REASON] or _string(fresh, "close_reason") or "",
        was_reason=_string(before, "close_reason") or "",
        was_closed_at=moment(before.get("closed_at")),
        fields=_fields(kind, fresh),
        description=_report(fresh),
        was_description=_report(before) if "description" in fresh else "",
    )


def parse_issue(row: Mapping[str, Cell]) -> Issue:
    return Issue(
        bead=text(row.get("id")),
        title=text(row.get("title"))[:MAX_TITLE],
        issue_type=text(row.get("issue_type"))[:64] or "task",
        status=text(row.get("status"))[:64] or "open",
        assignee=text(row.get("assignee")) or None,
        reason=text(row.get("close_reason"))[:MAX_REASON],
        closed_at=moment(row.get("closed_at")),
        updated_at=moment(row.get("updated_at")),
        created_at=moment(row.get("created_at")),
        description=_kept_description(text(row.get("description"))),
    )


def _report(values: Mapping[str, object]) -> str:
    said = values.get("description")
    return text(said[:READ_CHARS]) if isinstance(said, str) and "exit_type:" in said[:READ_CHARS] else ""


def _kept_description(written: str) -> str:
    head = written[:READ_CHARS]
    return head if "source_issue:" in head or "exit_type:" in head else ""


def text(value: Cell) -> str:
    """Any cell as text that can be encoded: bad UTF-8 and lone surrogates become replacement characters."""
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    return str(value).encode("utf-8", "replace").decode("utf-8", "replace")


def moment(value: Cell) -> datetime | None:
    """A DATETIME without a zone is taken as UTC; None for what is no time (`0000-00-00` too)."""
    if isinstance(value, datetime):
        found = value
    else:
        try:
            found = datetime.fromisoformat(text(value).strip())
        except ValueError:
            return None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        return None


def _object(value: Cell) -> dict[str, object] | None:
    written = text(value)
    if not written.lstrip().startswith("{"):
        return None
    try:
        loaded = json.loads(written)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _string(values: Mapping[str, object], name: str) -> str | None:
    value = values.get(name)
    return text(value)[:MAX_REASON] if isinstance(value, str) and value else None


def _fields(kind: str, fresh: Mapping[str, object]) -> tuple[str, ...]:
    named = [name for name in fresh if _FIELD.fullmatch(name)][:MAX_FIELDS]
    if named:
        return tuple(named)
    known = _KIND_FIELDS.get(kind)
    return (known or (kind if _FIELD.fullmatch(kind) else "unknown"),)
