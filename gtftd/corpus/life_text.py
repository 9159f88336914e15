"""A bead's life in words: what it asked for, who had it, what happened when, what it hangs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from gtftd.corpus.slings import Sling
from gtftd.town.bead_life import BeadLife
from gtftd.town.bead_rows import Change

MAX_CHARS = 256 * 1024
_PROSE = (
    ("description", "Description"),
    ("design", "Design"),
    ("acceptance_criteria", "Acceptance criteria"),
    ("notes", "Notes"),
)
_HEAD = (
    "priority", "owner", "created_by", "parent", "wisp_type", "mol_type", "work_type", "estimated_minutes", "spec_id",
    "external_ref",
)  # fmt: skip
_ENDINGS = {
    "closed": "closed",
    "requeue": "given back",
    "resling": "given to somebody else",
    "deferred": "deferred",
    "blocked": "blocked",
}


def tell_life(life: BeadLife, slings: Sequence[Sling]) -> str:
    """Everything that is known of the bead; of mail only when it came and went, never what it says."""
    return "\n\n".join(_parts(life, slings))[:MAX_CHARS]


def _parts(life: BeadLife, slings: Sequence[Sling]) -> Iterator[str]:
    issue = life.issue
    yield f"# {life.bead}: {'(mail)' if life.is_mail else issue.title}"
    yield "\n".join(_head(life))
    if not life.is_mail:
        for name, heading in _PROSE:
            if written := life.fields.get(name):
                yield f"## {heading}\n\n{written.strip()}"
        yield from _relations(life)
    if slings:
        yield "## Slings\n\n" + "\n".join(_of_sling(sling) for sling in slings)
    if life.changes:
        yield "## History\n\n" + "\n".join(_of_change(change, is_mail=life.is_mail) for change in life.changes)
    for comment in () if life.is_mail else life.comments:
        yield f"## Comment by {comment.author or 'somebody'}, {_at(comment.at)}\n\n{comment.text.strip()}"


def _head(life: BeadLife) -> Iterator[str]:
    issue = life.issue
    yield f"type: {life.kind}"
    yield f"status: {issue.status}"
    for name in _HEAD:
        if (value := life.fields.get(name)) and not (life.is_mail and name == "external_ref"):
            yield f"{name}: {value[:500]}"
    if issue.assignee:
        yield f"assignee: {issue.assignee}"
    for name, at in (("created", life.created_at), ("started", life.started_at), ("closed", issue.closed_at)):
        if at is not None:
            yield f"{name}: {_at(at)}"
    if issue.closed and issue.reason and not life.is_mail:
        yield f"close_reason: {issue.reason}"
    if life.labels and not life.is_mail:
        yield f"labels: {', '.join(life.labels)}"


def _relations(life: BeadLife) -> Iterator[str]:
    lines = [f"- {link.type}: {life.bead} -> {link.target}" for link in life.needs]
    lines += [f"- {link.type}: {link.bead} -> {life.bead}" for link in life.needed_by]
    if lines:
        yield "## Dependencies (a -> b: a hangs on b)\n\n" + "\n".join(lines)


def _of_sling(sling: Sling) -> str:
    given = f" by {sling.by}" if sling.by and sling.by != sling.actor else ""
    line = f"- {sling.actor}, given{given} {_at(sling.at)}"
    if sling.ended_at is None:
        return f"{line}: still has it"
    line += f": {_ENDINGS[sling.how]} after {_lasting(sling.duration_s or 0)}"
    if sling.ended_by and sling.ended_by != sling.actor:
        line += f" by {sling.ended_by}"
    return f"{line} ({sling.error_type})" if sling.error_type else line


def _of_change(change: Change, *, is_mail: bool) -> str:
    line = f"- {_at(change.at)} {change.actor or 'somebody'}: "
    if change.closes:
        line += "closed"
        return f"{line}: {change.reason}" if change.reason and not is_mail else line
    if change.now is not None and change.now != change.was:
        line += f"{change.was or '?'} -> {change.now}"
        return f"{line}, assignee {change.assignee}" if change.assignee else line
    if change.assignee and change.assignee != change.was_assignee:
        return f"{line}assignee {change.assignee}"
    return f"{line}{change.kind}" + (f" ({', '.join(change.fields)})" if change.kind == "updated" else "")


def _at(at: datetime | None) -> str:
    return "?" if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _lasting(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
