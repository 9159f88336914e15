"""Who worked on which bead, from when to when. Pure: the same evidence gives the same stints in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from gtftd.corpus.evidence import Change, Close, Session
from gtftd.corpus.findings import Finding

TICK = timedelta(seconds=1)
"""Dolt and gt's feed keep whole seconds."""
How = Literal["done", "unhook", "requeue", "taken", "closed"]


@dataclass(frozen=True)
class Stint:
    """One agent's go at one bead within one episode."""

    bead: str
    episode: int
    actor: str
    assigned_at: datetime | None
    released_at: datetime | None = None
    how: How | None = None
    close: Close | None = None
    """The close that ended the episode, if it was this stint that it ended."""
    findings: tuple[Finding, ...] = ()
    """What is on record of this work, by time."""
    given_again_at: datetime | None = None
    """When somebody was given the bead after this, before it was closed."""

    @property
    def ended_at(self) -> datetime | None:
        known = [at for at in (self.released_at, self.close.closed_at if self.close else None) if at]
        return min(known, default=None)


def find_stints(changes: Sequence[Change], closes: Sequence[Close], findings: Sequence[Finding] = ()) -> list[Stint]:
    """Of any number of beads, by bead and time; each finding at the work that it is about."""
    stints: list[Stint] = []
    beads = {change.bead for change in changes} | {close.bead for close in closes}
    for bead in sorted(beads):
        own_changes = _told_once([change for change in changes if change.bead == bead])
        own_closes = sorted((close for close in closes if close.bead == bead), key=lambda close: close.episode)
        stints.extend(_of_bead(bead, own_changes, own_closes))
    return _with_findings(stints, findings) if findings else stints


def _with_findings(stints: list[Stint], findings: Sequence[Finding]) -> list[Stint]:
    found: dict[int, list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: (finding.at, finding.kind, finding.what, finding.names)):
        for number in _work_of(stints, finding):
            found.setdefault(number, []).append(finding)
    return [replace(stint, findings=tuple(found.get(number, ()))) for number, stint in enumerate(stints)]


def _work_of(stints: Sequence[Stint], finding: Finding) -> list[int]:
    """The places of the stints that a finding is about: the last that its worker began before it was handed in.

    What happened to an agent is about everything that it had in hand; what took place without a bead, about all.
    """
    if finding.kind in _OF_AGENTS:
        return [number for number, stint in enumerate(stints) if _in_hand(stint, finding.at)]
    own = [number for number, stint in enumerate(stints) if stint.bead == finding.bead]
    if finding.kind == "request":
        return own
    if finding.actor and any(stints[number].actor == finding.actor for number in own):
        own = [number for number in own if stints[number].actor == finding.actor]
    elif finding.actor and finding.kind == "exit":
        return []
    handed_in = finding.since or finding.at
    begun = [number for number in own if (at := stints[number].assigned_at) is None or at <= handed_in + TICK]
    return begun[-1:]


_OF_AGENTS = frozenset({"escalated", "nudged", "estopped", "mass_death"})


def _in_hand(stint: Stint, at: datetime) -> bool:
    """With a second more at both ends, since sources tell whole seconds."""
    begin, end = stint.assigned_at, stint.ended_at
    return (begin is None or begin <= at + TICK) and (end is None or at <= end + TICK)


def _told_once(changes: Sequence[Change]) -> list[Change]:
    """Without second reports of an assignment: feed and beads round its time differently.

    A short stint may end within that second, so the second report may look as if it came after the end.
    """
    kept: list[Change] = []
    latest: dict[str, datetime] = {}
    for change in sorted(changes, key=lambda change: change.at):
        if change.change == "assigned":
            before, latest[change.actor] = latest.get(change.actor), change.at
            if before is not None and change.at - before <= TICK:
                continue
        kept.append(change)
    return kept


def _of_bead(bead: str, changes: list[Change], closes: list[Close]) -> Iterable[Stint]:
    parts: dict[int, list[Change]] = {}
    given_at: datetime | None = None
    for change in sorted(changes, key=_order):
        if change.change == "assigned" or given_at is None:
            given_at = change.at
        parts.setdefault(_episode(given_at, closes), []).append(change)  # letting go may come after the close
    for episode in sorted({*parts, *(close.episode for close in closes)}):
        close = next((found for found in closes if found.episode == episode), None)
        yield from _of_episode(bead, episode, parts.get(episode, []), close)


def _episode(at: datetime, closes: list[Close]) -> int:
    """Work given after a close belongs to the next episode."""
    later = 1 + max((close.episode for close in closes), default=0)
    return next((close.episode for close in closes if at < close.closed_at + TICK), later)


def _order(change: Change) -> tuple[datetime, bool, str]:
    """Within one second a release comes before the next assignment."""
    return change.at, change.change == "assigned", change.actor


def _of_episode(bead: str, episode: int, changes: list[Change], close: Close | None) -> list[Stint]:
    stints: list[Stint] = []
    current: Stint | None = None
    for change in changes:
        if change.change == "assigned":
            if current is not None and current.actor == change.actor:
                continue
            if current is not None:
                stints.append(replace(current, released_at=change.at, how="taken"))
            if stints and stints[-1].given_again_at is None:
                stints[-1] = replace(stints[-1], given_again_at=change.at)
            current = Stint(bead, episode, change.actor, change.at)
        elif current is not None and (change.change == "requeue" or change.actor == current.actor):
            stints.append(replace(current, released_at=change.at, how=_how(change.change)))
            current = None
    if current is not None:
        stints.append(current)
    return _with_close(stints, bead, episode, close)


def _with_close(stints: list[Stint], bead: str, episode: int, close: Close | None) -> list[Stint]:
    """The close ends the last stint; with no stint at all, it was the assignee's or the closer's work."""
    if close is None:
        return stints
    if stints:
        stints[-1] = replace(stints[-1], close=close)
        return stints
    actor = close.assignee or close.closed_by
    return [Stint(bead, episode, actor, None, close=close)] if actor else []


def _how(change: str) -> How:
    return "done" if change == "done" else "unhook" if change == "unhook" else "requeue"


def stints_of_session(session: Session, stints: Sequence[Stint]) -> list[Stint]:
    """Those of the session's agent that overlap it in time. A session that fell quiet may have gone on."""
    return [stint for stint in stints if stint.actor == session.actor and _overlap(session, stint)]


def _overlap(session: Session, stint: Stint) -> bool:
    started, ended = session.started_at, None if session.end_reason == "quiet" else session.ended_at
    begin, end = stint.assigned_at or stint.ended_at, stint.ended_at
    if started is not None and end is not None and started > end + TICK:
        return False
    return not (ended is not None and begin is not None and ended + TICK < begin)
