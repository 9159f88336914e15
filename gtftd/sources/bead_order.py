"""The order in which one bead's rows of one moment make sense."""

from __future__ import annotations

from collections.abc import Sequence

from gtftd.town.bead_rows import CLOSED, Change


def starts_closed(rows: Sequence[Change], end: bool | None) -> bool | None:
    """Whether the bead was closed before these rows of one moment; None when they do not say.

    `end`: whether it is closed after them, where that is known. Each reopening needs a close before it,
    so more reopenings than closes to come from mean that it began closed.
    """
    if any(row.kind == "created" for row in rows):
        return False
    closes = sum(row.closes for row in rows)
    opens = sum(row.opens for row in rows)
    if opens:
        return opens > closes - bool(end)
    found = [row.was == CLOSED for row in rows if row.was is not None and row.closes == bool(closes)]
    return found[0] if found else None


def told_order(rows: Sequence[Change], closed: bool, end: bool | None, final_reason: str) -> list[Change]:
    """`rows` of one moment, from a bead that is `closed` or not, to one that is closed at the `end`, or not.

    Of several closes, the one with the reason that is in force now comes last, unless growing ids order them.
    """
    closing = [row for row in rows if row.closes]
    if not all(row.order for row in closing):
        closing.sort(key=lambda row: bool(final_reason) and row.reason == final_reason)
    opening = [row for row in rows if row.opens and not row.closes]
    rest = [row for row in rows if not row.closes and not row.opens]
    on_closed = [row for row in rest if row.was == CLOSED]
    on_open = [row for row in rest if row.was != CLOSED]
    ordered: list[Change] = []
    while closing or opening:
        found = on_closed if closed else on_open
        ordered += found
        found.clear()
        if closed and opening and not _closes_again_first(closing, opening, end):
            ordered.append(opening.pop(0))
            closed = False
        elif closing:
            ordered.append(closing.pop(0))
            closed = True
        else:
            ordered.append(opening.pop(0))
            closed = False
    return ordered + (on_closed + on_open if closed else on_open + on_closed)


def _closes_again_first(closing: Sequence[Change], opening: Sequence[Change], end: bool | None) -> bool:
    """A bead that must end open cannot end with a close: surplus closes come before its reopening."""
    return end is False and len(closing) >= len(opening)
