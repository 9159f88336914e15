"""Who worked on which bead when, out of what was told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gtftd.corpus.evidence import Change, Close, Session
from gtftd.corpus.outcome import judge
from gtftd.corpus.stints import Stint, find_stints, stints_of_session

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
NUX, SLIT = "harbor/polecats/nux", "harbor/polecats/slit"
SESSION = Session("s", None, "polecat", "harbor", NUX, None, None, None, None, None, None, NOON)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def change(minute: float, how: str = "assigned", actor: str = NUX) -> Change:
    return Change("hb-1", actor, at(minute), how)


def close(minute: float, episode: int = 1, by: str | None = NUX, reason: str = "", assignee: str | None = NUX) -> Close:
    return Close("hb-1", episode, "harbor", at(minute), by, assignee, "", "task", reason)


def told(stints: list[Stint]) -> list[tuple[int, str, str | None, bool]]:
    return [(stint.episode, stint.actor, stint.how, stint.close is not None) for stint in stints]


def test_a_requeued_bead_has_two_stints_and_the_close_is_the_lasts() -> None:
    changes = [change(0), change(5, "requeue"), change(6, actor=SLIT), change(9, "done", SLIT)]
    assert [(1, NUX, "requeue", False), (1, SLIT, "done", True)] == told(find_stints(changes, [close(20)]))


def test_a_bead_slung_at_another_is_taken() -> None:
    assert [(1, NUX, "taken", False), (1, SLIT, None, True)] == told(
        find_stints([change(0), change(5, actor=SLIT)], [close(20)])
    )


def test_a_reopened_bead_begins_a_new_episode() -> None:
    """Also when it is given and put back within minutes of the close before."""
    changes = [change(0), change(3), change(11), change(12, "requeue")]
    assert [(1, NUX, None, True), (2, NUX, "requeue", False)] == told(find_stints(changes, [close(10)]))


def test_letting_go_after_the_close_belongs_to_the_work_before_it() -> None:
    assert [(1, NUX, "done", True)] == told(find_stints([change(0), change(30, "done")], [close(10)]))


def test_without_an_assignment_the_work_is_the_assignees_else_the_closers() -> None:
    assert [(1, NUX, None, True)] == told(find_stints([], [close(10, by=SLIT)]))
    assert [(1, SLIT, None, True)] == told(find_stints([], [close(10, by=SLIT, assignee=None)]))
    assert [] == find_stints([], [close(10, by=None, assignee=None)])


def test_the_order_of_what_is_told_does_not_matter() -> None:
    changes = [change(0), change(5, "requeue"), change(6, actor=SLIT), change(30), change(31, "done")]
    closes = [close(20), close(40, 2)]
    assert find_stints(changes, closes) == find_stints(changes[::-1], closes[::-1])


def test_a_session_has_the_stints_that_it_lived_through() -> None:
    stints = find_stints([change(0), change(5, "done")], [close(5)])
    assert stints == stints_of_session(SESSION, stints)
    assert [] == stints_of_session(replace(SESSION, started_at=at(6)), stints)
    assert [] == stints_of_session(replace(SESSION, started_at=at(-9), ended_at=at(-1)), stints)
    assert stints == stints_of_session(replace(SESSION, ended_at=at(-1), end_reason="quiet"), stints)
    assert [] == stints_of_session(replace(SESSION, actor=SLIT), stints)


def test_work_of_which_only_the_close_is_known_is_the_living_sessions() -> None:
    stints = find_stints([], [close(10)])
    assert stints == stints_of_session(SESSION, stints)
    assert [] == stints_of_session(replace(SESSION, ended_at=at(5)), stints)


def label(reason: str, said: str | None = None, by: str | None = NUX) -> tuple[str, float]:
    stint = Stint("hb-1", 1, NUX, NOON, close=close(5, reason=reason, by=by))
    outcome = judge(stint, SESSION, said)
    return outcome.label, outcome.confidence


def test_what_became_of_closed_work() -> None:
    """Reasons as they stand in the real exports (gastown.md 5.5)."""
    assert ("merged", 0.9) == label("Merged in gt-wisp-abc", by="harbor/refinery")
    assert ("merged", 0.8) == label("merged")
    assert ("completed", 0.75) == label("Fixed: the lock is released 0123abcd")
    assert ("completed", 0.3) == label("Closed")
    assert ("escalated", 0.8) == label("Closed", "ESCALATED")
    assert ("deferred", 0.7) == label("Closed", "handoff", by="mayor")
    for reason in (
        "Stale: superseded",
        "Completed with no code changes (already fixed)",
        "no-changes: ok",
        "duplicate",
    ):
        assert "administrative" == label(reason)[0]


def test_what_became_of_work_that_was_not_closed() -> None:
    stint = Stint("hb-1", 1, NUX, NOON)
    dead = replace(SESSION, died=True, ended_at=at(5))
    assert "failed" == judge(stint, dead, None).label
    assert "unknown" == judge(replace(stint, how="done", released_at=at(4)), dead, None).label
    assert "abandoned" == judge(replace(stint, how="requeue", released_at=at(4)), SESSION, None).label
    assert "escalated" == judge(stint, SESSION, "ESCALATED").label
    assert "deferred" == judge(stint, SESSION, "DEFERRED").label


def test_a_reopening_halves_the_confidence() -> None:
    stint = Stint("hb-1", 1, NUX, NOON, close=replace(close(5, reason="merged"), reopened=True))
    assert 0.4 == judge(stint, SESSION, None).confidence
