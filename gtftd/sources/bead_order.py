"""The order in which one bead's rows of one moment make sense."""

from __future__ import annotations

from collections.abc import Sequence

from gtftd.town.bead_rows import CLOSED, Change


def starts_closed(rows: Sequence[Change], end: bool | None) -> bool | None:
    """Whether the bead was closed before these rows of one moment; None when they do not say.

    `end`: whether it is closed after them, where that is known.
    """
    if any(row.kind == "created" for row in rows):
        return False
    opens = sum(row.opens for row in rows)
    closes = sum(row.closes for row in rows)
    if opens:
        could = [start for start in (False, True) if _is_possible(start, closes, opens, end)]
        return could[0] if len(could) == 1 else None
    if closes and any(row.was not in {None, CLOSED} for row in rows):
        return False
    found = [row.was == CLOSED for row in rows if row.was is not None and row.closes == bool(closes)]
    return found[0] if found else None


def _is_possible(start: bool, closes: int, opens: int, end: bool | None) -> bool:
    """Each reopening finds a closed bead; a close finds either."""
    if end is None:
        return _is_possible(start, closes, opens, False) or _is_possible(start, closes, opens, True)
    return closes + start >= opens + end


def told_order(rows: Sequence[Change], closed: bool, end: bool | None, final_reason: str) -> list[Change]:
    """`rows` of one moment, from a bead that is `closed` or not, to one that is closed at the `end`, or not.

    Closes and reopenings go by their ids where those grow; else as they make sense, and of several closes
    the one with the reason that is in force now comes last. The other rows go where they found the bead.
    """
    acts = [row for row in rows if row.closes or row.opens]
    if not all(row.order for row in acts):
        acts = _sensible(acts, closed, end, final_reason)
    rest = [row for row in rows if not row.closes and not row.opens]
    ordered: list[Change] = []
    for act in acts:
        fitting = [row for row in rest if (row.was == CLOSED) == closed]
        rest = [row for row in rest if (row.was == CLOSED) != closed]
        ordered += [*fitting, act]
        closed = act.closes
    return ordered + sorted(rest, key=lambda row: (row.was == CLOSED) != closed)


def _sensible(acts: Sequence[Change], closed: bool, end: bool | None, final_reason: str) -> list[Change]:
    closing = [row for row in acts if row.closes]
    closing.sort(key=lambda row: bool(final_reason) and row.reason == final_reason)
    opening = [row for row in acts if not row.closes]
    ordered: list[Change] = []
    while closing and opening:
        # a bead that must end open cannot end with a close: surplus closes come before its reopening
        surplus = end is False and len(closing) >= len(opening)
        take = opening if closed and not surplus else closing
        ordered.append(take.pop(0))
        closed = ordered[-1].closes
    return ordered + closing + opening
