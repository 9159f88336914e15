"""Decides when a changed file has settled: pure, one file, the clock passed in."""

from __future__ import annotations

from dataclasses import dataclass, field

from gtftd.sources.looking import Look


@dataclass(frozen=True)
class Unsettled:
    """A file that differs from what was told: since when at all, and since when as `look` saw it."""

    look: Look
    changed_at: float
    same_since: float


@dataclass(frozen=True)
class Settled:
    """What to tell: the sum now (None: gone), whether the file is whole, and since when, where that is known."""

    sha256: str | None
    valid: bool
    since: float | None = field(default=None, compare=False)


Verdict = Settled | Unsettled | None
"""None: nothing to tell."""


def settle(
    told: str | None, before: Unsettled | None, look: Look, now: float, *, debounce_s: float, half_written_s: float
) -> Verdict:
    """What a look means, after `told` was told last and `before` is what the last look left open.

    A change is told when two looks `debounce_s` apart agree and the file is sound; a file that stays
    broken, or never rests, for `half_written_s` is told as invalid. What can't be read changes nothing.
    """
    if look.state == "unreadable" or look.sha256 == told:
        return None
    if before is None:
        return Unsettled(look, changed_at=now, same_since=now)
    if before.look != look:
        before = Unsettled(look, changed_at=before.changed_at, same_since=now)
    rests = now - before.same_since >= debounce_s
    if rests and look.sound:
        return Settled(look.sha256, valid=True, since=before.look.since)
    if now - before.changed_at >= half_written_s:
        return Settled(look.sha256, valid=False, since=before.look.since)
    return before
