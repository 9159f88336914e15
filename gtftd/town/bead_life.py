"""A bead's whole life, put together from the rows of a database or of an export (gastown.md 5.3 to 5.6)."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from gtftd.town.bead_rows import Cell, Change, Dependency, Issue, moment, parse_issue, text

T = TypeVar("T")
BEAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
FIELDS = (
    "description", "design", "acceptance_criteria", "notes", "priority", "owner", "created_by", "sender",
    "external_ref", "spec_id", "estimated_minutes", "wisp_type", "mol_type", "work_type", "event_kind", "parent",
)  # fmt: skip
"""What is told of a bead besides what `Issue` holds."""
TIMES = ("created_at", "started_at")
COLUMNS = (
    "id", "title", "issue_type", "status", "assignee", "close_reason", "closed_at", "updated_at", *TIMES, *FIELDS,
)  # fmt: skip
MAX_FIELD = 65_536
MAX_ROWS = 2000
"""More history rows or comments of one bead than this are flapping, not a life: the newest are kept."""
_QUARTER_S, _SLACK_S, _FURTHEST_S = 900, 10, 15 * 3600
_ATTRIBUTE = re.compile(r"^[ \t]*([a-z][a-z_]{1,31}):[ \t]*(\S.{0,499}?)[ \t]*$", re.MULTILINE)
_ATTRIBUTES = frozenset({
    "branch", "target", "source_issue", "worker", "rig", "commit_sha", "merge_commit", "close_reason", "agent_bead",
    "retry_count", "last_conflict_sha", "conflict_task_id", "convoy_id", "convoy_created_at", "pre_verified",
    "pre_verified_at", "pre_verified_base", "role_type", "agent_state", "hook_bead", "cleanup_status", "active_mr",
    "exit_type", "mr_id", "mr_failed", "push_failed", "completion_time", "attached_molecule", "attached_formula",
    "attached_at", "attached_args", "attached_vars", "dispatched_by", "no_merge", "review_only", "mode",
    "merge_strategy", "convoy_owned", "formula_vars",
})  # fmt: skip


@dataclass(frozen=True)
class Comment:
    """What somebody added to a bead."""

    author: str
    at: datetime | None
    text: str


@dataclass(frozen=True)
class BeadLife:
    """One bead from its first day on; `changes` are in UTC as far as we can tell, the oldest first."""

    issue: Issue
    fields: Mapping[str, str]
    created_at: datetime | None
    started_at: datetime | None
    changes: tuple[Change, ...] = ()
    needs: tuple[Dependency, ...] = ()
    needed_by: tuple[Dependency, ...] = ()
    labels: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()

    @property
    def bead(self) -> str:
        return self.issue.bead

    @property
    def kind(self) -> str:
        """The type; a label `gt:<type>` says it where the type does not."""
        marked = next((label[3:] for label in self.labels if label.startswith("gt:")), "")
        return marked if marked and self.issue.issue_type in {"task", "chore", "event"} else self.issue.issue_type

    @property
    def is_mail(self) -> bool:
        return self.issue.issue_type == "message" or "gt:message" in self.labels

    @property
    def attributes(self) -> Mapping[str, str]:
        """The `key: value` lines that gt keeps inside a description."""
        found = _ATTRIBUTE.findall(self.fields.get("description", ""))
        return {name: value for name, value in found if name in _ATTRIBUTES}

    @property
    def last_at(self) -> datetime | None:
        """The latest moment that anything tells of."""
        told = [self.issue.updated_at, self.issue.closed_at, self.created_at]
        told += [change.at for change in self.changes[-1:]]
        return max((at for at in told if at is not None), default=None)

    @property
    def known(self) -> tuple[int, int, int]:
        """How much is told: two accounts of the same moment are compared by it."""
        return len(self.changes), len(self.comments), len(self.fields) + len(self.labels) + len(self.needs)


@dataclass
class Rows:
    """Rows of one database, from wherever they come; changes as they were written, their clock uncorrected."""

    issues: list[Mapping[str, Cell]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    dependencies: list[Dependency] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)
    comments: list[tuple[str, Comment]] = field(default_factory=list)


def lives_of(rows: Rows, offset_s: int | None = None) -> list[BeadLife]:
    """The lives of all issues in `rows`, by id. `offset_s` brings history rows to UTC; None: what their closes show."""
    issues = _newest(rows.issues)
    changes = _grouped((change.bead, change) for change in rows.changes)
    assumed = shown_offset(rows.changes, [issue for issue, _ in issues.values()]) if offset_s is None else offset_s
    needs = _grouped((link.bead, link) for link in rows.dependencies)
    needed = _grouped((link.target, link) for link in rows.dependencies)
    labels, comments = _grouped(rows.labels), _grouped(rows.comments)
    return [
        BeadLife(
            issue=issue,
            fields=_fields(row),
            created_at=moment(row.get("created_at")),
            started_at=moment(row.get("started_at")),
            changes=_in_order(changes[bead], issue, assumed),
            needs=_links(needs[bead]),
            needed_by=_links(needed[bead]),
            labels=tuple(sorted(set(labels[bead]))),
            comments=tuple(sorted(comments[bead], key=lambda one: (str(one.at), one.author, one.text))[-MAX_ROWS:]),
        )
        for bead, (issue, row) in sorted(issues.items())
    ]


def _newest(rows: Iterable[Mapping[str, Cell]]) -> dict[str, tuple[Issue, Mapping[str, Cell]]]:
    """By id; an export of several days tells of one bead more than once."""
    found: dict[str, tuple[Issue, Mapping[str, Cell]]] = {}
    for row in rows:
        issue = parse_issue(row)
        before = found.get(issue.bead)
        if BEAD.fullmatch(issue.bead) and (before is None or _is_later(issue, before[0])):
            found[issue.bead] = (issue, row)
    return found


def _is_later(issue: Issue, before: Issue) -> bool:
    return before.updated_at is None or (issue.updated_at is not None and issue.updated_at >= before.updated_at)


def shown_offset(changes: Iterable[Change], issues: Iterable[Issue]) -> int:
    """What most closes show: the clock of history rows is often the server's, that of issues is UTC; in seconds."""
    last = {change.bead: change for change in sorted(changes, key=lambda one: one.at) if change.closes}
    votes = Counter(shown for issue in issues if (shown := _shown(last.get(issue.bead), issue)) is not None)
    return max(votes, key=lambda offset: (votes[offset], -abs(offset))) if votes else 0


def parse_dependency(row: Mapping[str, Cell], targets: Sequence[str]) -> Dependency | None:
    target = next((named for name in targets if (named := text(row.get(name)))), "")
    bead = text(row.get("issue_id"))
    return Dependency(bead, target, text(row.get("type")) or "blocks") if bead and target else None


def parse_comment(row: Mapping[str, Cell]) -> tuple[str, Comment]:
    said = Comment(text(row.get("author"))[:255], moment(row.get("created_at")), text(row.get("text"))[:MAX_FIELD])
    return text(row.get("issue_id")), said


def _shown(close: Change | None, issue: Issue) -> int | None:
    if close is None or issue.closed_at is None or not issue.closed:
        return None
    seconds = (issue.closed_at - close.at).total_seconds()
    whole = round(seconds / _QUARTER_S) * _QUARTER_S
    return whole if abs(seconds - whole) <= _SLACK_S and abs(whole) <= _FURTHEST_S else None


def _in_order(changes: Sequence[Change], issue: Issue, assumed_s: int) -> tuple[Change, ...]:
    """By time; numbers tell the order within a second, then what was told (UUIDs tell nothing)."""
    ordered = sorted(changes, key=lambda one: (one.at, one.order, one.closes, one.kind, one.key))[-MAX_ROWS:]
    closes = [change for change in ordered if change.closes]
    shown = _shown(closes[-1], issue) if closes else None
    offset = timedelta(seconds=assumed_s if shown is None else shown)
    return tuple(replace(change, at=_shifted(change.at, offset)) for change in ordered) if offset else tuple(ordered)


def _shifted(at: datetime, offset: timedelta) -> datetime:
    try:
        return at + offset
    except OverflowError:
        return at


def _fields(row: Mapping[str, Cell]) -> dict[str, str]:
    found = {name: _plain(row.get(name)) for name in FIELDS}
    return {name: value for name, value in found.items() if value}


def _plain(value: Cell) -> str:
    written = json.dumps(value) if isinstance(value, dict | list) else text(value)
    return written[:MAX_FIELD]


def _links(found: Sequence[Dependency]) -> tuple[Dependency, ...]:
    return tuple(sorted(set(found), key=lambda link: (link.type, link.bead, link.target)))


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = defaultdict(list)
    for bead, item in pairs:
        groups[bead].append(item)
    return groups
