"""What time it was when a history row was written: `events.created_at` is often not UTC.

bd leaves `created_at` of a history row to the server's CURRENT_TIMESTAMP, which is local time on most
servers, and writes every time of an issue itself, in UTC. So a close carries its own correction: the
issue's `closed_at` less the row's `created_at` is a whole number of quarter hours, the zone of whoever
wrote the row. Clones and exports carry the zone of the machine on which they were written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gtftd.town.bead_rows import Change, Issue

QUARTER_S = 900
SLACK_S = 10
"""Between bd's clock and the server's, within one transaction."""
FURTHEST_S = 15 * 3600


@dataclass(frozen=True)
class Corrected:
    """Rows whose `at` is UTC as far as we can tell, and the correction in force, in seconds."""

    rows: tuple[Change, ...]
    offset_s: int
    voted: bool
    """The correction was seen in these very rows."""


def correct(rows: Iterable[Change], issues: Mapping[str, Issue], assumed_s: int) -> Corrected:
    """Bring rows to UTC by the correction that most of their closes show, else by `assumed_s`."""
    rows = tuple(rows)
    last = {row.bead: row for row in sorted(rows, key=lambda row: row.at) if row.closes}
    votes = Counter(
        offset for row in last.values() if (offset := shown(row.at, _closed_at(issues.get(row.bead)))) is not None
    )
    offset_s = votes.most_common(1)[0][0] if votes else assumed_s
    return Corrected(tuple(_moved(row, offset_s) for row in rows), offset_s, voted=bool(votes))


def shown(row_at: datetime, closed_at: datetime | None) -> int | None:
    """The correction of `row_at` if both are the same close, in seconds; None when they cannot be."""
    if closed_at is None:
        return None
    seconds = (closed_at - row_at).total_seconds()
    whole = round(seconds / QUARTER_S) * QUARTER_S
    return whole if abs(seconds - whole) <= SLACK_S and abs(whole) <= FURTHEST_S else None


def _closed_at(issue: Issue | None) -> datetime | None:
    return issue.closed_at if issue is not None and issue.closed else None


def _moved(row: Change, offset_s: int) -> Change:
    return replace(row, at=shifted(row.at, offset_s)) if offset_s else row


def shifted(at: datetime, seconds: float) -> datetime:
    """`at` moved, or as it is where the calendar ends: a row may carry any date."""
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return at
