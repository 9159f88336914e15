"""The pure part of the beads poller: any way of hearing a history tells the same closes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from gtftd.schemas.town import BeadAssigned, BeadClosed, BeadReleased, BeadReopened, BeadUpdated
from gtftd.sources.bead_changes import Decision, KnownBead, decide, seed
from gtftd.sources.bead_clock import correct
from gtftd.town.bead_rows import Change, Issue, moment, parse_change, parse_issue

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Step:
    """A row as bd writes it, and the issue right after it."""

    row: Change
    issue: Issue


def change(number: int, kind: str, at: datetime, **values: object) -> Change:
    row = Change(key=f"events:{number}", order=0, bead="gt-a", kind=kind, actor="mayor", at=at)
    return replace(row, **values)  # type: ignore[arg-type]


def issue(status: str, reason: str = "", closed_at: datetime | None = None) -> Issue:
    return Issue("gt-a", "Title", "task", status, None, reason, closed_at, None)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """What bd may do to one bead, with several changes in a second now and then."""
    steps: list[Step] = []
    at, status, reason, closed_at = START, "open", "", None
    if draw(st.booleans()):
        steps.append(Step(change(0, "created", at, fields=("created",)), issue(status)))
    for number in range(1, draw(st.integers(1, 12)) + 1):
        at += timedelta(seconds=draw(st.sampled_from([0, 0, 0, 1, 7])))
        actions = ["close", "close", "touch"] + (["reopen", "reopen"] if status == "closed" else ["hook", "release"])
        action = draw(st.sampled_from(actions))
        key = draw(st.integers(0, 9)) * 100 + number  # random ids: no order within a second
        if action == "close":
            reason, closed_at = f"reason {number}", at
            row = change(key, "closed", at, now="closed", reason=reason)
            status = "closed"
        elif action == "touch":
            row = change(key, "updated", at, was=status, fields=("notes",))
        else:
            now = "hooked" if action == "hook" else "open"
            kind = "reopened" if action == "reopen" else "status_changed"
            row = change(key, kind, at, was=status, now=now, fields=("status",))
            status, reason, closed_at = now, "", None
        steps.append(Step(row, issue(status, reason, closed_at)))
    return steps


def reference(steps: list[Step]) -> Counter[str]:
    """Straight through the true history."""
    counts: Counter[str] = Counter()
    closed = bool(steps) and steps[0].row.was == "closed"
    for step in steps:
        if step.row.closes:
            counts["again" if closed else "closed"] += 1
        elif closed and step.row.now is not None:
            counts["reopened"] += 1
        closed = step.issue.closed
    return counts


def counted(decisions: list[Decision]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for fact in (fact for decision in decisions for fact in decision.facts):
        match fact.event:
            case BeadClosed():
                counts["closed"] += 1
            case BeadReopened():
                counts["reopened"] += 1
            case BeadUpdated(changes=("close_reason",)):
                counts["again"] += 1
    return counts


def hear(steps: list[Step], cuts: set[int], seed_: int, *, future_issue: bool = False) -> list[Decision]:
    """Polls that end at `cuts`; each sees its rows shuffled, some of them twice."""
    chance = random.Random(seed_)
    decisions, states, begin = [], {}, 0
    for end in sorted(cuts | {len(steps)}):
        part = steps[begin:end]
        begin = end
        if not part:
            continue
        rows = [step.row for step in part] + [chance.choice(part).row]
        chance.shuffle(rows)
        read = steps[-1].issue if future_issue else part[-1].issue
        decision = decide("hq", rows, states, {"gt-a": read}, now=NOW)
        states = {**states, **decision.states}
        decisions.append(decision)
    return decisions


@settings(max_examples=400, deadline=None)
@given(histories(), st.sets(st.integers(0, 12)), st.integers(0, 2**20))
def test_any_polls_tell_the_same_closes(steps: list[Step], cuts: set[int], seed_: int) -> None:
    """However the rows fall into polls, shuffled and repeated, each close and reopening is told once."""
    assert reference(steps) == counted(hear(steps, cuts, seed_))


@settings(max_examples=200, deadline=None)
@given(histories(), st.sets(st.integers(0, 12)), st.integers(0, 2**20))
def test_facts_are_unique_and_episodes_count_up(steps: list[Step], cuts: set[int], seed_: int) -> None:
    """No id comes twice; closes are of episodes 1, 2, 3... in order, each after its reopening."""
    facts = [fact for decision in hear(steps, cuts, seed_) for fact in decision.facts]
    ids = [fact.id for fact in facts]
    assert len(set(ids)) == len(ids)
    closes = [fact.event.episode for fact in facts if isinstance(fact.event, BeadClosed)]
    assert sorted(set(closes)) == closes
    reopened = [fact.event.episode for fact in facts if isinstance(fact.event, BeadReopened)]
    assert list(range(2, 2 + len(reopened))) == reopened


@settings(max_examples=200, deadline=None)
@given(histories(), st.integers(0, 12), st.integers(0, 2**20))
def test_a_history_heard_in_silence_gives_the_same_state(steps: list[Step], cut: int, seed_: int) -> None:
    """A bead that was never told of is known from its older rows as if every poll had seen it.

    With ids that grow: without them, and without the issue as it was then, one second may be read in two ways.
    """
    steps = [replace(step, row=replace(step.row, order=index + 1)) for index, step in enumerate(steps)]
    cut = min(cut, len(steps))
    older, newer = steps[:cut], steps[cut:]
    if not newer or (older and older[-1].row.at == newer[0].row.at):
        return  # a poll cannot tell older from newer rows within one second by time alone
    states = seed("hq", [step.row for step in older], NOW)
    rows = [step.row for step in newer]
    told = counted([decide("hq", rows, states, {"gt-a": newer[-1].issue}, now=NOW)])
    before = counted(hear(older, set(), seed_)) if older else Counter()
    assert reference(steps) == told + before


@settings(max_examples=200, deadline=None)
@given(histories(), st.sets(st.integers(0, 12)), st.integers(0, 2**20))
def test_an_issue_that_runs_ahead_of_its_rows_ends_right(steps: list[Step], cuts: set[int], seed_: int) -> None:
    """When the issue is read later than the rows, the bead still ends as it is, and nothing is told twice."""
    decisions = hear(steps, cuts, seed_, future_issue=True)
    ids = [fact.id for decision in decisions for fact in decision.facts]
    assert len(set(ids)) == len(ids)
    assert decisions[-1].states["gt-a"].closed == steps[-1].issue.closed


def one(rows: list[Change], read: Issue | None, known: KnownBead | None = None) -> list[object]:
    states = {} if known is None else {"gt-a": known}
    decision = decide("hq", rows, states, {} if read is None else {"gt-a": read}, now=NOW)
    return [fact.event for fact in decision.facts]


def test_close_reopen_close_in_one_second() -> None:
    """Two closes with their own episodes, and the reason in force belongs to the second."""
    rows = [
        change(1, "closed", START, now="closed", reason="second"),
        change(2, "closed", START, now="closed", reason="first"),
        change(3, "reopened", START, was="closed", now="open"),
    ]
    events = one(rows, issue("closed", "second", START), KnownBead(False))
    told = [(type(event).__name__, event.episode, getattr(event, "reason", None)) for event in events]
    assert told == [("BeadClosed", 1, "first"), ("BeadReopened", 2, None), ("BeadClosed", 2, "second")]


def test_a_second_close_is_an_update_with_the_reason_in_force() -> None:
    (event,) = one(
        [change(1, "closed", START, now="closed", reason="again")], issue("closed", "again"), KnownBead(True, 3)
    )
    assert isinstance(event, BeadUpdated)
    assert (event.changes, event.reason, event.episode) == (("close_reason",), "again", 3)


def test_a_close_without_a_row_is_told_from_the_issue() -> None:
    """Plain SQL closed the bead; a label row made us look."""
    closed_at = START - timedelta(minutes=3)
    events = one(
        [change(1, "label_added", START, fields=("labels",))], issue("closed", "stale", closed_at), KnownBead(False)
    )
    assert [BeadClosed, BeadUpdated] == [type(event) for event in events]
    assert (closed_at, "stale") == (events[0].at, events[0].reason)


def test_a_row_that_found_another_state_tells_the_change_before_it() -> None:
    """A bead known as closed is found hooked: somebody reopened it without a row."""
    events = one([change(1, "updated", START, was="hooked", fields=("notes",))], None, KnownBead(True, 1))
    assert [(type(event).__name__, event.episode) for event in events] == [("BeadReopened", 2), ("BeadUpdated", 2)]


def test_an_old_closed_bead_that_gets_a_label_is_not_closed_anew() -> None:
    events = one([change(1, "label_added", START, fields=("labels",))], issue("closed", "done", START))
    assert [BeadUpdated] == [type(event) for event in events]


def test_a_bead_made_anew_under_its_old_id_is_open_again() -> None:
    """Gt creates the bead of an agent again, and the next close is one of a new episode."""
    rows = [change(1, "created", START), change(2, "closed", START + timedelta(seconds=1), now="closed")]
    events = one(rows, issue("closed"), KnownBead(True))
    assert [(type(event).__name__, event.episode) for event in events] == [("BeadReopened", 2), ("BeadClosed", 2)]
    kinds = [type(event) for event in one(rows[:1], issue("open"), KnownBead(True))]
    assert [BeadReopened, BeadUpdated] == kinds
    assert [BeadUpdated] == [type(event) for event in one(rows[:1], issue("closed"), KnownBead(True))]


def test_hands_of_a_bead() -> None:
    """A hook gives the bead to an agent, a requeue takes it away, a claim gives it to whoever claims."""
    rows = [
        change(
            1, "status_changed", START, was="open", now="hooked", assignee="gastown/polecats/nux/", fields=("status",)
        ),
        change(2, "status_changed", START + timedelta(seconds=9), was="in_progress", now="open", was_assignee="mayor/"),
        change(3, "claimed", START + timedelta(seconds=10), was="open", now="in_progress", actor="deacon/"),
    ]
    events = one(rows, issue("in_progress"), KnownBead(False))
    hands = [
        (type(event).__name__, event.actor, event.at)
        for event in events
        if isinstance(event, BeadAssigned | BeadReleased)
    ]
    assert [
        ("BeadAssigned", "gastown/polecats/nux", START),
        ("BeadReleased", "mayor", START + timedelta(seconds=9)),
        ("BeadAssigned", "deacon", START + timedelta(seconds=10)),
    ] == hands


def test_close_reasons_come_as_text_or_as_json() -> None:
    """Plain text is the reason, even if it looks like a number or a broken object."""
    for written, reason in [
        ("Merged in gt-wisp-1", "Merged in gt-wisp-1"),
        ("42", "42"),
        ('{"half', '{"half'),
        ('{"status":"closed"}', ""),
        ('{"status":"closed","close_reason":"done"}', "done"),
        ("[" * 10_000, "[" * 4000),
    ]:
        row = parse_change("events", {"id": 1, "issue_id": "a", "event_type": "closed", "new_value": written})
        assert (True, reason) == (row.closes, row.reason)


def test_hostile_cells_become_text_that_can_be_encoded() -> None:
    """Bad UTF-8, lone surrogates and NULs pass; deep nesting and odd keys give no fields."""
    row = parse_change(
        "events",
        {
            "id": b"\xff",
            "issue_id": b"gt-\xff\x00",
            "event_type": b"updated",
            "new_value": '{"assignee":"\\ud800x","Evil Key\\n":1,"notes":2}',
            "old_value": '{"a":' * 10_000,
        },
    )
    assert (row.fields, row.was) == (("assignee", "notes"), None)
    (row.bead + str(row.assignee)).encode()
    assert parse_issue({"id": "a", "status": b"closed", "closed_at": "0000-00-00 00:00:00"}).status == "closed"
    assert moment("0000-00-00 00:00:00") is None


def test_the_zone_of_the_rows_is_seen_in_their_closes() -> None:
    """Rows in local time come out in UTC; without a close that shows the zone, the assumed one is taken."""
    local = START - timedelta(hours=8)
    closing = change(1, "closed", local, now="closed", reason="x")
    other = replace(change(2, "updated", local, was="open"), bead="gt-b")
    read = {"gt-a": issue("closed", "x", START + timedelta(seconds=1))}
    found = correct([closing, other], read, assumed_s=0)
    assert [row.at for row in found.rows] == [START, START]
    assert START - timedelta(hours=7) == correct([other], {}, assumed_s=3600).rows[0].at
