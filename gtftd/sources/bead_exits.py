"""How agents' work ended, as `gt done` writes it on their own beads: out of the rows that no later exit overwrites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from gtftd.schemas.town import ExitReported
from gtftd.town.bead_fields import ExitFields, exit_fields
from gtftd.town.bead_rows import Change, Issue

_SETS_TEXT = frozenset({"created", "description"})


@dataclass(frozen=True)
class Exit:
    """One exit; `when` is the time of the row that tells of it."""

    event: ExitReported
    when: datetime

    @property
    def key(self) -> tuple[str, str, str]:
        """The same wherever the exit is told: as it was set, as it was taken away, and in the issue."""
        return self.event.at.isoformat(), self.event.bead, self.event.exit_type


def read_exits(rows: Sequence[Change], issue: Issue | None, *, settled: bool) -> list[Exit]:
    """Each exit that one bead's rows, in order of time, set or took away, once.

    The issue has what no row holds: the text with which it was created, and one too long to be fetched. `settled`: it
    was read after the last row. An exit that does not say when it was is dated by the row that set it, and told by
    no other.
    """
    found: dict[tuple[str, str, str], Exit] = {}
    for one in _told(rows, issue, settled):
        found.setdefault(one.key, one)
    return list(found.values())


def _told(rows: Sequence[Change], issue: Issue | None, settled: bool) -> Iterator[Exit]:
    for row in rows:
        if fields := exit_fields(row.description):
            yield _exit(fields, row.at)
        if (fields := exit_fields(row.was_description)) and fields.at:
            yield _exit(fields, row.at)
    setting = [row.at for row in rows if not _SETS_TEXT.isdisjoint(row.fields)]
    now = exit_fields(issue.description) if issue and setting else None
    if now is not None and (now.at or settled):
        yield _exit(now, setting[-1])


def _exit(fields: ExitFields, when: datetime) -> Exit:
    event = ExitReported(
        at=fields.at or when,
        seen_by="poll",
        bead=fields.bead,
        actor=fields.actor,
        exit_type=fields.exit_type,
        merge_failed=fields.merge_failed,
        push_failed=fields.push_failed,
    )
    return Exit(event, when)
