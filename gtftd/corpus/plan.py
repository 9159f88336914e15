"""Which entries a session gives. Pure: everything known in, the whole list out, whatever came first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gtftd.corpus.acts import ReadSpan
from gtftd.corpus.conventions import Violation, Worker, violations
from gtftd.corpus.evidence import Session
from gtftd.corpus.failures import failure_modes
from gtftd.corpus.outcome import died_at, judge
from gtftd.corpus.reasons import classify
from gtftd.corpus.signals import Signals, read_signals
from gtftd.corpus.spans import Span, Taken, Timeline, Work, rest, second, take
from gtftd.corpus.stints import Stint
from gtftd.schemas.corpus import FailureMode, Outcome
from gtftd.schemas.event import event_id
from gtftd.town.conversation import Line

GAP_TURNS = 3
"""Fewer messages between two beads are taking up the one or putting down the other."""


@dataclass(frozen=True)
class Planned:
    """An entry to be: still unscrubbed."""

    entry_id: str
    stint: Stint | None
    taken: Taken
    cut: str
    outcome: Outcome
    worker: Worker | None = None
    signals: Signals = field(default_factory=Signals)
    violations: tuple[Violation, ...] = ()
    failures: tuple[FailureMode, ...] = ()


@dataclass(frozen=True)
class Plan:
    """`early` are entries whose closing call is expected in the transcript and not there yet.

    `is_final`: more lines in the transcript change nothing.
    """

    entries: tuple[Planned, ...]
    early: tuple[Planned, ...] = ()
    is_final: bool = False


def plan_session(
    session: Session,
    stints: Sequence[Stint],
    lines: Sequence[Line],
    *,
    min_turns: int = 1,
    town_root: str | None = None,
) -> Plan:
    """Bead spans of stints that are over, and, when the session is over, what lies outside of them.

    What a polecat says outside of its beads is waiting and housekeeping: only a polecat session with no
    bead at all is kept whole. Other roles work without beads too.
    """
    works = [_work(stint, session) for stint in stints]
    timeline = Timeline(lines, works)
    spans: list[Span] = []
    entries: list[Planned] = []
    early: list[Planned] = []
    final = session.ended_at is None
    for stint, work in zip(stints, works, strict=True):
        span = timeline.cut(work)
        if span is None or not _is_work(lines, span, stint):
            final = final and span is not None and span.settled
            continue
        spans.append(span)
        if not is_over(stint, session):
            continue
        final = final and span.settled
        is_early = not span.settled and session.ended_at is None
        (early if is_early else entries).extend(
            _entry(session, stint, lines, span, ordinal_of(stint, stints), min_turns, town_root)
        )
    if session.ended_at is not None and (session.role != "polecat" or not spans):
        least = max(min_turns, GAP_TURNS) if spans else min_turns
        for ordinal, gap in enumerate(rest(lines, spans)):
            entries += _entry(session, None, lines, gap, ordinal, least, town_root)
    return Plan(tuple(entries), tuple(early), final)


def _work(stint: Stint, session: Session) -> Work:
    close = stint.close
    return Work(
        bead=stint.bead,
        assigned_at=stint.assigned_at,
        released_at=stint.released_at,
        closed_at=close.closed_at if close else None,
        closed_by_this_actor=bool(close and close.closed_by == session.actor),
        needs_command=_was_ending(stint, session),
    )


def _was_ending(stint: Stint, session: Session) -> bool:
    """The work began before the session and ended by the second in which it started: another one did it."""
    began, ended, started = stint.assigned_at, stint.ended_at, session.started_at
    if began is None or ended is None or started is None:
        return False
    return second(began) < second(started) and second(ended) <= second(started)


def is_over(stint: Stint, session: Session) -> bool:
    """Closed, or let go of for good, or the session has ended. `done` alone waits for the close."""
    return stint.close is not None or session.ended_at is not None


def _is_work(lines: Sequence[Line], span: Span, stint: Stint) -> bool:
    """Something was done: the last words about the bead before are no work on the next one.

    Without an assignment, closing a bead is not yet work on it: more than the closing call must be there.
    """
    acts = {
        line.message_id or line.uuid or str(line.index)
        for line in lines[span.first_index : span.last_index + 1]
        if line.message.role == "assistant" and line.message.tool_calls
    }
    if stint.assigned_at is not None:
        return bool(acts)
    administrative = stint.close is not None and classify(stint.close.reason).is_administrative
    return len(acts) >= 2 and not administrative


def ordinal_of(stint: Stint, stints: Sequence[Stint]) -> int:
    """Counts the stints of this agent on the same bead in the same episode."""
    same = [other for other in stints if (other.bead, other.episode) == (stint.bead, stint.episode)]
    return same.index(stint)


def _entry(
    session: Session,
    stint: Stint | None,
    lines: Sequence[Line],
    span: Span,
    ordinal: int,
    min_turns: int,
    town_root: str | None,
) -> list[Planned]:
    taken = take(lines, span)
    taken = replace(taken, messages=ReadSpan(taken.messages))
    if sum(message.trainable for message in taken.messages) < min_turns:
        return []
    bead = stint.bead if stint else None
    worker = Worker(
        role=session.role or "unknown",
        rig=session.rig,
        actor=session.actor,
        bead=bead,
        cwd=session.cwd,
        town_root=town_root,
    )
    signals, broken = read_signals(taken.messages), violations(taken.messages, worker)
    died = died_at(stint, session)
    failures = failure_modes(signals, broken, end_reason=session.end_reason, died=died)
    outcome = judge(stint, session, signals.said, signals, failures)
    identity = entry_id(session, stint, ordinal)
    return [Planned(identity, stint, taken, span.cut, outcome, worker, signals, broken, failures)]


def entry_id(session: Session, stint: Stint | None, ordinal: int) -> str:
    """Of the session, the bead and its episode; `ordinal` tells several of these apart."""
    bead, episode = (stint.bead, stint.episode) if stint else ("", 1)
    return event_id("entry", session.session_id, bead, episode, ordinal)
