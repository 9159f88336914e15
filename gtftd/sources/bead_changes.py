"""From history rows to facts: what one poll of one database says. Pure; every promise is a property test.

A bead's rows are followed in order of time. Within one moment the ids say nothing (they are random), so
the order is taken in which the rows make sense: what found the bead open, then its close, then what found
it closed, then its reopening. A row that found the bead in another state than the rows before it left
tells of a change without a row, which is told too; so does the issue itself, read after its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

from gtftd.schemas.event import Event, event_id
from gtftd.schemas.town import (
    BeadAssigned,
    BeadClosed,
    BeadReleased,
    BeadReopened,
    BeadUpdated,
    MergeDecided,
)
from gtftd.sources.bead_clock import shifted, shown
from gtftd.sources.bead_exits import read_exits
from gtftd.sources.bead_order import starts_closed, told_order
from gtftd.state.outbox import Outgoing
from gtftd.town.bead_fields import merge_fields
from gtftd.town.bead_rows import CLOSED, Change, Issue
from gtftd.town.identity import normal_actor

HELD = {"hooked", "in_progress"}
"""An agent has the bead."""


@dataclass(frozen=True)
class KnownBead:
    """What we last said of a bead. `inferred_at`: Unix seconds of a change that no row has told yet."""

    closed: bool
    episode: int = 1
    inferred_at: float | None = None


@dataclass(frozen=True)
class Decision:
    facts: tuple[Outgoing, ...]
    states: Mapping[str, KnownBead]


def decide(
    database: str,
    rows: Iterable[Change],
    states: Mapping[str, KnownBead],
    issues: Mapping[str, Issue],
    *,
    settled: bool = True,
    now: datetime,
) -> Decision:
    """The facts of `rows`, each told once, and the states of their beads afterwards.

    `settled`: the issues were read after the last row, so what they say outweighs the rows. `now` dates a
    change that nothing else dates.
    """
    stories = []
    for bead, own in _by_bead(rows).items():
        story = _Story(database, bead, issues.get(bead), states.get(bead), settled)
        story.tell(own, now)
        stories.append(story)
    told = sorted((fact for story in stories for fact in story.facts), key=lambda fact: fact.when)
    return Decision(
        facts=tuple(fact.outgoing for fact in told),
        states={story.bead: story.known for story in stories if story.known is not None},
    )


def seed(database: str, rows: Iterable[Change], now: datetime) -> dict[str, KnownBead]:
    """What beads were before the first row that we tell: their older history, followed in silence."""
    return dict(decide(database, rows, {}, {}, settled=False, now=now).states)


@dataclass(frozen=True)
class _Fact:
    when: datetime
    outgoing: Outgoing


@dataclass
class _Story:
    """One bead in one poll."""

    database: str
    bead: str
    issue: Issue | None
    known: KnownBead | None
    settled: bool
    facts: list[_Fact] = field(default_factory=list)
    changes: dict[str, None] = field(default_factory=dict)
    plain: list[Change] = field(default_factory=list)
    made_anew: frozenset[str] = frozenset()

    def tell(self, rows: Sequence[Change], now: datetime) -> None:
        moments = [list(group) for _, group in groupby(rows, key=lambda row: row.at)]
        final = self.issue.reason if self.issue else ""
        self.made_anew = _made_anew(rows)
        for group, end in zip(moments, self._ends(moments), strict=True):
            if self.known is None:
                closed = starts_closed(group, end)
                self.known = None if closed is None else KnownBead(closed)
            for row in told_order(group, self.known is not None and self.known.closed, end, final):
                self._follow(row)
        self._believe_issue(rows[-1].at, now)
        for found in read_exits(rows, self.issue, settled=self.settled):
            self._add(found.when, found.event, *found.key)
        self._tell_update()

    def _ends(self, moments: Sequence[Sequence[Change]]) -> list[bool | None]:
        """Whether the bead is closed after each moment, found from the last one back; None: nothing says."""
        ends = [self.issue.closed if self.settled and self.issue else None]
        for group in reversed(moments[1:]):
            ends.append(starts_closed(group, ends[-1]))
        return ends[::-1]

    def _follow(self, row: Change) -> None:
        self._tell_hands(row)
        if self._believe_was(row):
            return
        known = self.known
        if row.closes:
            self._close(row)
        elif known is not None and known.closed and (row.now is not None or row.key in self.made_anew):
            self._say_reopened(row.at, row.now or "open", when=row.at)
        elif known is not None and row.opens and known.inferred_at is not None:
            self.known = replace(known, inferred_at=None)
        else:
            self._plain(row)

    def _believe_was(self, row: Change) -> bool:
        """Tell the change that `row` found already made; True when the row came late and is old news."""
        known = self.known
        found = True if row.opens else None if row.was is None else row.was == CLOSED
        if known is None or found is None or found == known.closed:
            return False
        if known.inferred_at is not None and row.at.timestamp() <= known.inferred_at:
            if row.opens or row.closes:
                return False
            self._plain(row)
            return True
        if found:
            at = row.was_closed_at or row.at
            self._say_closed(min(at, row.at), row.was_reason, None, row.was_assignee, when=row.at)
        else:
            self._say_reopened(row.at, row.was or "open", when=row.at)
        return False

    def _close(self, row: Change) -> None:
        known = self.known or KnownBead(closed=False)
        reason = row.reason or (self.issue.reason if self.issue and self.issue.closed else "")
        if not known.closed:
            self.known = known
            self._say_closed(self._moment(row), reason, row.actor, row.was_assignee, when=row.at)
        elif known.inferred_at is not None and row.at.timestamp() <= known.inferred_at + 1:
            self.known = replace(known, inferred_at=None)
        else:
            self.known = replace(known, inferred_at=None)
            self._add(row.at, self._update(row.at, ("close_reason",), reason), row.key, "bead.updated")
            self._say_decided(row.at, reason, row.actor, row.key, when=row.at)

    def _plain(self, row: Change) -> None:
        self.plain.append(row)
        self.changes.update(dict.fromkeys(row.fields))

    def _say_closed(self, at: datetime, reason: str, by: str | None, assignee: str | None, *, when: datetime) -> None:
        known = self.known or KnownBead(closed=False)
        self.known = KnownBead(True, known.episode)
        holder = (self.issue.assignee if self.issue else None) or assignee
        event = BeadClosed(
            at=at,
            seen_by="poll",
            database=self.database,
            bead=self.bead,
            title=self._title,
            issue_type=self._type,
            status=CLOSED,
            assignee=normal_actor(holder),
            episode=known.episode,
            reason=reason,
            closed_by=normal_actor(by),
        )
        self._add(when, event, known.episode)
        self._say_decided(at, reason, by, known.episode, when=when)

    def _say_decided(self, at: datetime, reason: str, by: str | None, key: object, *, when: datetime) -> None:
        """What the close of a merge request says of the work in it."""
        issue = self.issue
        fields = merge_fields(issue.description) if issue and issue.description else None
        if issue is None or fields is None or fields.bead == self.bead:
            return
        event = MergeDecided(
            at=at,
            seen_by="poll",
            database=self.database,
            request=self.bead,
            bead=fields.bead,
            reason=reason,
            actor=fields.actor,
            by=normal_actor(by),
            commit_sha=fields.commit_sha,
            merge_commit=fields.merge_commit,
            submitted_at=issue.created_at,
        )
        self._add(when, event, key)

    def _say_reopened(self, at: datetime, status: str, *, when: datetime) -> None:
        known = self.known or KnownBead(closed=True)
        self.known = KnownBead(False, known.episode + 1)
        event = BeadReopened(
            at=at,
            seen_by="poll",
            database=self.database,
            bead=self.bead,
            title=self._title,
            issue_type=self._type,
            status=status,
            assignee=normal_actor(self.issue.assignee if self.issue else None),
            episode=known.episode + 1,
        )
        self._add(when, event, known.episode + 1)

    def _tell_hands(self, row: Change) -> None:
        """Who got the bead, or let go of it."""
        taker = normal_actor(row.assignee or (row.actor if row.kind == "claimed" else None))
        if taker and (row.kind == "claimed" or row.now in HELD):
            assigned = BeadAssigned(at=row.at, seen_by="poll", bead=self.bead, actor=taker, by=normal_actor(row.actor))
            self._add(row.at, assigned, row.key)
        elif row.was in HELD and row.now == "open" and (holder := normal_actor(row.was_assignee)):
            released = BeadReleased(at=row.at, seen_by="poll", bead=self.bead, actor=holder, how="requeue")
            self._add(row.at, released, row.key)

    def _believe_issue(self, last: datetime, now: datetime) -> None:
        """The issue, read after its rows, is right where they disagree."""
        issue = self.issue
        if issue is None or not self.settled:
            return
        if self.known is None:
            self.known = KnownBead(issue.closed)
        if self.known.closed == issue.closed:
            return
        at = (issue.closed_at if issue.closed else None) or issue.updated_at or now
        if issue.closed:
            self._say_closed(at, issue.reason, None, None, when=last)
        else:
            self._say_reopened(at, issue.status, when=last)
        self.known = replace(self.known, inferred_at=at.timestamp())

    def _tell_update(self) -> None:
        if self.plain:
            event = self._update(self.plain[-1].at, tuple(sorted(self.changes)), "")
            self._add(self.plain[-1].at, event, min(row.key for row in self.plain))

    def _update(self, at: datetime, changes: tuple[str, ...], reason: str) -> BeadUpdated:
        issue, known = self.issue, self.known or KnownBead(closed=False)
        return BeadUpdated(
            at=at,
            seen_by="poll",
            database=self.database,
            bead=self.bead,
            title=self._title,
            issue_type=self._type,
            status=issue.status if issue else (CLOSED if known.closed else "open"),
            assignee=normal_actor(issue.assignee if issue else None),
            episode=known.episode,
            changes=changes,
            reason=reason,
        )

    def _moment(self, row: Change) -> datetime:
        """When a close happened, in UTC: the issue tells by how much the row's clock is off.

        Its own second may be that of a later close, so that it would depend on when we look.
        """
        offset_s = shown(row.at, self.issue.closed_at) if self.issue and self.issue.closed else None
        return row.at if offset_s is None else shifted(row.at, offset_s)

    @property
    def _title(self) -> str:
        return self.issue.title if self.issue else ""

    @property
    def _type(self) -> str:
        return self.issue.issue_type if self.issue else "task"

    def _add(self, when: datetime, event: Event, *key: object) -> None:
        identity = event_id(type(event).subject, self.database, self.bead, *key)
        at = getattr(event, "at", when)
        self.facts.append(_Fact(when, Outgoing(identity, event, at)))


def _made_anew(rows: Sequence[Change]) -> frozenset[str]:
    """Rows that create a bead which is closed next: gt makes beads of agents anew under their old ids.

    Where no close follows, the issue says whether the bead is open; importing a closed bead creates it too.
    """
    found, closed_next = set(), False
    for row in reversed(rows):
        if row.closes or row.opens:
            closed_next = row.closes
        elif row.kind == "created" and closed_next:
            found.add(row.key)
    return frozenset(found)


def _by_bead(rows: Iterable[Change]) -> dict[str, list[Change]]:
    """Each row once, in order of time."""
    once = {row.key: row for row in rows}
    found: dict[str, list[Change]] = {}
    for row in sorted(once.values(), key=lambda row: (row.at, row.order, row.key)):
        found.setdefault(row.bead, []).append(row)
    return found
