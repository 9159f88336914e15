"""What became of a bead, judged by the same rules as the sessions that worked on it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gtftd.corpus.evidence import Change, Close
from gtftd.corpus.findings import Finding, swept
from gtftd.corpus.outcome import judge_bead
from gtftd.corpus.slings import Sling
from gtftd.corpus.stints import find_stints
from gtftd.schemas.corpus import Fact, Outcome
from gtftd.schemas.settings import LabelSettings
from gtftd.town.bead_life import BeadLife
from gtftd.town.identity import normal_actor

SOMEBODY = "?"
_CHANGES = {"requeue": "requeue", "deferred": "unhook", "blocked": "unhook"}


@dataclass(frozen=True)
class Closing:
    """One close of a bead; `number` counts those of this bead from 0 on."""

    bead: str
    number: int
    actor: str
    at: datetime


def fate_of(
    life: BeadLife,
    slings: Sequence[Sling],
    database: str,
    *,
    is_swept: bool = False,
    findings: Sequence[Finding] = (),
) -> Outcome:
    """Every closed bead has a label; an open one has none yet. Nothing in the evidence is anybody's text."""
    closes = [change for change in life.changes if change.closes or change.opens]
    begins = max((number + 1 for number, change in enumerate(closes) if change.opens), default=0)
    opened = sum(change.opens for change in closes)
    if not life.issue.closed:
        facts = [Fact(kind="not_closed", detail="the bead is not closed")]
        facts += [Fact(kind="reopened", detail="opened again", at=change.at) for change in closes if change.opens][-1:]
        return Outcome(label="unknown", confidence=0.1, evidence=tuple(facts))
    ours = [change for change in closes[begins:] if change.closes]
    at = life.issue.closed_at or (ours[-1].at if ours else life.last_at)
    close = Close(
        bead=life.bead,
        episode=opened + 1,
        database=database,
        closed_at=at or _NEVER,
        closed_by=normal_actor(ours[0].actor) if ours else None,
        assignee=normal_actor(life.issue.assignee),
        title="",
        issue_type=life.kind,
        reason=life.issue.reason or (ours[-1].reason if ours else ""),
        swept=is_swept,
    )
    stints = find_stints(_changes(life.bead, slings, closes[begins - 1].at if begins else None), [close], findings)
    return judge_bead(close, [stint for stint in stints if stint.episode == close.episode])


def closings_of(lives: Iterable[BeadLife]) -> list[Closing]:
    """Every close; where no history is told, the one that the bead itself tells of."""
    found = []
    for life in lives:
        told = [change for change in life.changes if change.closes]
        found += [
            Closing(life.bead, number, normal_actor(change.actor) or SOMEBODY, change.at)
            for number, change in enumerate(told)
        ]
        if not told and life.issue.closed and life.issue.closed_at:
            found.append(Closing(life.bead, 0, SOMEBODY, life.issue.closed_at))
    return found


def numbered(closes: Iterable[tuple[str, str, datetime]]) -> list[Closing]:
    """Closes as (bead, actor, time), each with its number among those of its bead."""
    counts: Counter[str] = Counter()
    found = []
    for bead, actor, at in sorted(closes, key=lambda close: (close[2], close[0])):
        found.append(Closing(bead, counts[bead], normal_actor(actor) or SOMEBODY, at))
        counts[bead] += 1
    return found


def sweeps(closings: Iterable[Closing], labels: LabelSettings) -> Mapping[str, int]:
    """The last close of each bead that was one of so many by one actor within so short a time, by its number."""
    closes = [(one.bead, one.number, one.actor, one.at) for one in closings]
    last: dict[str, int] = {}
    for bead, number in swept(closes, beads=labels.mass_close_beads, within_s=labels.mass_close_s):
        last[bead] = max(number, last.get(bead, 0))
    return last


def is_swept(life: BeadLife, found: Mapping[str, int]) -> bool:
    """Whether the close in force is one of a sweep."""
    number = max(0, sum(change.closes for change in life.changes) - 1)
    return life.issue.closed and found.get(life.bead) == number


def _changes(bead: str, slings: Sequence[Sling], after: datetime | None) -> list[Change]:
    """Of the episode that is the last."""
    found = []
    for sling in slings:
        if after is None or sling.at >= after:
            found.append(Change(bead, sling.actor, sling.at, "assigned"))
            if sling.ended_at is not None and (change := _CHANGES.get(sling.how)):
                found.append(Change(bead, sling.actor, sling.ended_at, change))
    return found


_NEVER = datetime.fromtimestamp(0, UTC)
