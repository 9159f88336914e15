"""gt's own lines in descriptions, and what the poller and the feed make of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from gtftd.schemas.event import Event
from gtftd.schemas.town import AgentNudged, EscalationSent, ExitReported, MergeDecided, SessionsDied
from gtftd.sources.bead_changes import decide
from gtftd.town.bead_fields import exit_fields, find_branch, merge_fields
from gtftd.town.bead_rows import Change, Issue, parse_change, parse_issue
from gtftd.town.estop import EStop
from gtftd.town.feed import parse_line, to_event

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
REQUEST = (
    "branch: polecat/nux/hb-1@mm5n4urn\ntarget: main\nsource_issue: hb-1\nworker: nux\nrig: harbor\n"
    "commit_sha: 0123abcd\n\nPlease look: it is small.\nmerge_commit: not yet\n"
)
EXIT = (
    "role_type: polecat\nrig: harbor\nagent_state: done\nexit_type: ESCALATED\npush_failed: true\n"
    "branch: polecat/nux/hb-1@170\ncompletion_time: 2026-03-05T12:30:00Z"
)
EXIT_OF_THREE = EXIT.replace("hb-1", "hb-3").replace("ESCALATED", "COMPLETED").replace("12:30", "15:30")


def test_a_merge_request_names_its_work_and_its_worker() -> None:
    found = merge_fields(REQUEST)
    assert found is not None
    assert ("hb-1", "harbor/polecats/nux", "0123abcd", None) == (
        found.bead, found.actor, found.commit_sha, found.merge_commit,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "source_issue: hb-1", "branch: x\nsource_issue: rm -rf /", "\0" * 99, "branch: b\nsource_issue: \n"]
)
def test_other_descriptions_are_no_merge_requests(text: str) -> None:
    assert merge_fields(text) is None


def test_branches_name_their_work() -> None:
    named = find_branch("Merge branch 'polecat/nux/gt-p7uq.1@mm5n51k0' into main")
    assert named is not None
    assert ("nux", "gt-p7uq.1") == (named.name, named.bead)
    assert find_branch("Merge branch 'feature/polecats'") is None


def test_an_exit_tells_of_the_work_on_the_branch() -> None:
    found = exit_fields(EXIT)
    assert found is not None
    assert ("hb-1", "harbor/polecats/nux", "ESCALATED", True, False) == (
        found.bead, found.actor, found.exit_type, found.push_failed, found.merge_failed,
    )  # fmt: skip
    assert found.at == NOON + timedelta(minutes=30)
    assert exit_fields("exit_type: COMPLETED") is None
    assert exit_fields(EXIT.replace("ESCALATED", "WHATEVER")) is None


def test_the_close_of_a_request_tells_of_the_work_in_it() -> None:
    """And a second close of it tells again; the same history told twice gives the same ids."""
    row = {"id": "hb-wisp-a", "title": "Merge: hb-1", "status": "closed", "description": REQUEST, "created_at": NOON}
    issue = parse_issue(row | {"close_reason": "merged", "closed_at": NOON + timedelta(minutes=9)})
    closes = [
        Change("wisp_events:1", 0, issue.bead, "closed", "harbor/refinery", NOON + timedelta(minutes=8), now="closed",
               reason="rejected: red"),
        Change("wisp_events:2", 0, issue.bead, "closed", "harbor/refinery", NOON + timedelta(minutes=9), now="closed",
               reason="merged"),
    ]  # fmt: skip
    told = [
        decide("harbor", closes, {}, {issue.bead: issue}, now=NOON).facts,
        decide("harbor", closes[::-1], {}, {issue.bead: issue}, now=NOON).facts,
    ]
    decided = [[fact for fact in facts if isinstance(fact.event, MergeDecided)] for facts in told]
    assert ["rejected: red", "merged"] == [fact.event.reason for fact in decided[0]]  # type: ignore[attr-defined]
    assert decided[0] == decided[1]
    event = decided[0][0].event
    assert isinstance(event, MergeDecided)
    assert ("hb-wisp-a", "hb-1", "harbor/polecats/nux", NOON) == (
        event.request, event.bead, event.actor, event.submitted_at,
    )  # fmt: skip


def test_each_exit_is_told_though_the_next_one_overwrites_it() -> None:
    later = EXIT.replace("hb-1", "hb-2").replace("ESCALATED", "COMPLETED").replace("12:30", "13:30")
    rows = [
        parse_change(
            "wisp_events",
            {"id": number, "issue_id": "hb-harbor-polecat-nux", "event_type": "updated", "actor": "harbor/polecats/nux",
             "created_at": NOON + timedelta(hours=number), "new_value": json.dumps({"description": text})},
        )
        for number, text in enumerate((EXIT, later))
    ]  # fmt: skip
    issue = Issue("hb-harbor-polecat-nux", "Polecat nux", "agent", "open", None, "", None, None, description=later)
    facts = decide("harbor", rows, {}, {issue.bead: issue}, now=NOON).facts
    exits = [fact.event for fact in facts if isinstance(fact.event, ExitReported)]
    assert [("hb-1", "ESCALATED"), ("hb-2", "COMPLETED")] == [(event.bead, event.exit_type) for event in exits]


def test_exits_are_the_same_however_often_the_beads_were_looked_at() -> None:
    """Each time, at times, or once when all is over: the row of a creation holds no text, the next one holds it."""
    texts = [EXIT, EXIT.replace("hb-1", "hb-2").replace("12:30", "13:30"), "agent_state: working", EXIT_OF_THREE]
    rows = [agent_row(number, old, new) for number, (old, new) in enumerate(pairwise(["", *texts]))]
    told = []
    for looks in range(2 ** (len(rows) - 1)):
        found: dict[str, Event] = {}
        begin = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or looks >> (end - 1) & 1:
                issue = parse_issue({"id": "hb-harbor-polecat-nux", "description": texts[end - 1]})
                facts = decide("harbor", rows[begin:end], {}, {issue.bead: issue}, now=NOON).facts
                found |= {fact.id: fact.event for fact in facts if isinstance(fact.event, ExitReported)}
                begin = end
        told.append(found)
    assert [told[0]] * len(told) == told
    assert {"hb-1", "hb-2", "hb-3"} == {event.bead for event in told[0].values()}  # type: ignore[attr-defined]


def test_an_exit_without_a_time_is_told_by_the_row_that_set_it() -> None:
    """The row that takes it away knows no better when it was; of an issue that is ahead of its rows nothing is said."""
    bare = EXIT.rpartition("\n")[0]
    rows = [agent_row(1, "", bare), agent_row(2, bare, "agent_state: working")]
    issue = parse_issue({"id": "hb-harbor-polecat-nux", "description": bare})
    first = decide("harbor", rows[:1], {}, {issue.bead: issue}, now=NOON).facts
    assert [rows[0].at] == [fact.event.at for fact in first if isinstance(fact.event, ExitReported)]
    for settled in (True, False):
        later = decide("harbor", rows[1:], {}, {}, settled=settled, now=NOON).facts
        assert [] == [fact for fact in later if isinstance(fact.event, ExitReported)]
    ahead = decide("harbor", rows[:1], {}, {issue.bead: issue}, settled=False, now=NOON).facts
    assert [] == [fact for fact in ahead if isinstance(fact.event, ExitReported)]


def agent_row(number: int, old: str, new: str) -> Change:
    """As bd writes them: nothing in the row that creates, the whole old issue and what changed in the others."""
    row = {"id": number, "issue_id": "hb-harbor-polecat-nux", "event_type": "created", "actor": "harbor/polecats/nux"}
    if old:
        row |= {"event_type": "updated", "old_value": json.dumps({"status": "open", "description": old})}
        row |= {"new_value": json.dumps({"description": new})}
    return parse_change("wisp_events", row | {"created_at": NOON + timedelta(hours=number)})


def feed(kind: str, actor: str, payload: dict[str, object]) -> object:
    line = {"ts": "2026-03-05T12:00:00Z", "source": "gt", "type": kind, "actor": actor, "payload": payload}
    return to_event(parse_line(json.dumps(line).encode()))


def test_the_feed_tells_of_escalations_nudges_and_mass_deaths() -> None:
    asked = feed("escalation_sent", "harbor/polecats/nux", {"target": "hb-1", "to": "mayor", "reason": "stuck"})
    assert EscalationSent(at=NOON, seen_by="feed", actor="harbor/polecats/nux", bead="hb-1") == asked
    for target in ("harbor/polecats/nux", "nux"):
        nudged = feed("nudge", "mayor/", {"rig": "harbor", "target": target, "reason": "wake up"})
        assert AgentNudged(at=NOON, seen_by="feed", actor="harbor/polecats/nux", by="mayor") == nudged
    died = feed("mass_death", "daemon", {"count": 2, "window": "30s", "sessions": ["ha-nux", "hq-deacon"]})
    assert SessionsDied(at=NOON, seen_by="feed", tmux_sessions=("ha-nux", "hq-deacon")) == died


def test_every_stop_that_stands_is_seen(tmp_path: Path) -> None:
    (tmp_path / "ESTOP.harbor").write_text("manual\t2026-03-05T12:00:00Z\tfire")
    (tmp_path / "ESTOP").write_text("")
    (tmp_path / "ESTOP.md").touch()
    (tmp_path / "ESTOPPED").touch()
    found = EStop(tmp_path).standing()
    assert [(None, ""), ("harbor", "manual"), ("md", "")] == [(mark.rig, mark.trigger) for mark in found]
