"""Labels follow from evidence: which fact decides, what makes it surer, and that the stored facts say why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.corpus.evidence import Change, Close, Session
from gtftd.corpus.findings import Finding, swept
from gtftd.corpus.outcome import decide, judge, judge_bead
from gtftd.corpus.runners import TestRun
from gtftd.corpus.signals import Signals
from gtftd.corpus.stints import Stint, find_stints
from gtftd.schemas.corpus import Outcome
from gtftd.schemas.town import (
    BeadAssigned,
    BeadClosed,
    BeadReleased,
    CommitsLanded,
    MergeDecided,
    RevertedCommit,
    SessionStarted,
)
from tests.support.corpus import bench
from tests.support.sources import make_town
from tests.support.transcripts import START, TranscriptBuilder

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
NUX, SLIT, REFINERY = "harbor/polecats/nux", "harbor/polecats/slit", "harbor/refinery"
SHA, OTHER = "a1" * 20, "b2" * 20
SESSION = Session(
    "s", None, "polecat", "harbor", NUX, "claude", "r", "ha-nux", None, None, None, started_at=NOON
)  # fmt: skip
GREEN, RED = (Signals(tests=(TestRun(1, passed, "pytest"),)) for passed in (True, False))


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def close(minutes: float, reason: str = "Closed", by: str | None = NUX, **more: object) -> Close:
    made = Close("hb-1", 1, "harbor", at(minutes), by, NUX, "A task", "task", reason)
    return replace(made, **more)  # type: ignore[arg-type]


def decision(minutes: float, what: str, sha: str | None = None, **more: object) -> Finding:
    names = ("hb-wisp-a", *([sha] if sha else []))
    made = Finding("decision", at(minutes), bead="hb-1", actor=NUX, since=at(5), what=what, names=names)
    return replace(made, **more)  # type: ignore[arg-type]


def landed(minutes: float, **more: object) -> Finding:
    made = Finding("landed", at(minutes), bead="hb-1", actor=NUX, since=at(4), names=(SHA,))
    return replace(made, **more)  # type: ignore[arg-type]


def exited(minutes: float, what: str) -> Finding:
    return Finding("exit", at(minutes), bead="hb-1", actor=NUX, what=what)


MERGED_REASON = close(10, "Merged in hb-wisp-a", by=REFINERY)
TAKEN_BACK = landed(9, reverted_at=at(60), reverted_by=OTHER)
REQUEST = Finding("request", NOON)
WORK = Stint("hb-1", 1, NUX, NOON, released_at=at(5), how="done")
CASES: dict[str, tuple[Stint, str]] = {
    "a revert outweighs everything": (
        replace(WORK, close=MERGED_REASON, findings=(decision(10, "merged"), TAKEN_BACK)),
        "reverted",
    ),
    "what landed again after a revert stands": (
        replace(WORK, findings=(TAKEN_BACK, landed(70, names=(OTHER,)))),
        "merged",
    ),
    "a late revert only makes us less sure": (
        replace(WORK, findings=(landed(9, reverted_at=at(60), reverted_by=OTHER, reverted_late=True),)),
        "merged",
    ),
    "a rejection that nothing followed": (replace(WORK, findings=(decision(10, "rejected"),)), "rejected"),
    "a rejection, then closed all the same": (
        replace(WORK, close=close(20, "Closed", by="mayor"), findings=(decision(10, "rejected"),)),
        "rejected",
    ),
    "a rejection that was mended": (
        replace(WORK, findings=(decision(10, "rejected"), decision(30, "merged"))),
        "merged",
    ),
    "a request that had become void says nothing": (replace(WORK, findings=(decision(10, "void"),)), "unknown"),
    "a commit on main, whatever the reason says": (
        replace(WORK, close=close(20, "Stale backlog", by="mayor"), findings=(landed(9),)),
        "merged",
    ),
    "a merge outweighs the exit": (
        replace(WORK, close=MERGED_REASON, findings=(exited(5, "ESCALATED"),)),
        "merged",
    ),
    "the exit outweighs the reason": (
        replace(WORK, close=close(9, "Fixed: it", by="mayor"), findings=(exited(5, "ESCALATED"),)),
        "escalated",
    ),
    "deferred, and closed by somebody else": (
        replace(WORK, close=close(9, "Fixed: it", by="mayor"), findings=(exited(5, "DEFERRED"),)),
        "deferred",
    ),
    "deferred, and closed by itself after all": (
        replace(WORK, close=close(9, "Fixed: it"), findings=(exited(5, "DEFERRED"),)),
        "completed",
    ),
    "a push that failed": (replace(WORK, findings=(exited(5, "COMPLETED push_failed"),)), "failed"),
    "a sweep": (replace(WORK, close=close(9, "Cleaned up", by="mayor", swept=True)), "administrative"),
    "a sweep of what names its commits": (
        replace(WORK, close=close(9, f"Fixed in {SHA[:8]}", swept=True)),
        "completed",
    ),
    "done, and given to another": (replace(WORK, given_again_at=at(30)), "failed"),
    "done, and not closed": (WORK, "unknown"),
    "taken off the hook": (replace(WORK, how="requeue"), "abandoned"),
    "asked for help, and let go": (
        replace(WORK, how="unhook", findings=(Finding("escalated", at(3)),)),
        "escalated",
    ),
    "a request that its refinery sends back": (
        Stint("hb-wisp-a", 1, REFINERY, None, close=close(9, "rejected: red", by=REFINERY), findings=(REQUEST,)),
        "completed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_strongest_evidence_decides(name: str) -> None:
    stint, label = CASES[name]
    assert label == judge(stint, SESSION, None).label


def test_a_death_outweighs_the_close_reason_and_only_before_the_end() -> None:
    dead = replace(SESSION, died=True, ended_at=at(4))
    stint = Stint("hb-1", 1, NUX, NOON, close=close(20, "Fixed: it", by="mayor"))
    assert "failed" == judge(stint, dead, None).label
    assert "completed" == judge(stint, replace(dead, ended_at=at(30)), None).label
    assert "completed" == judge(replace(stint, how="done", released_at=at(3)), dead, None).label
    alone = judge(Stint("hb-1", 1, NUX, NOON), dead, None)
    together = judge(Stint("hb-1", 1, NUX, NOON, findings=(Finding("mass_death", at(4)),)), dead, None)
    assert ("failed", "failed", True) == (alone.label, together.label, together.confidence < alone.confidence)


def test_independent_facts_make_surer_and_contradictions_less_sure() -> None:
    def sure(stint: Stint, signals: Signals | None = None) -> float:
        return judge(stint, SESSION, None, signals).confidence

    by_reason = replace(WORK, close=MERGED_REASON)
    by_three = replace(by_reason, findings=(decision(10, "merged"), landed(9)))
    assert sure(by_reason) < sure(replace(by_reason, findings=(decision(10, "merged"),))) < sure(by_three)
    closed = Stint("hb-1", 1, NUX, NOON, close=close(9, "Fixed: it"))
    assert sure(closed, RED) < sure(closed) < sure(closed, GREEN)
    assert sure(by_three, RED) < sure(by_three)
    assert sure(replace(by_three, close=replace(MERGED_REASON, reopened=True))) < sure(by_three)
    assert sure(replace(by_three, given_again_at=at(50))) < sure(by_three)
    failed = replace(WORK, findings=(decision(10, "rejected"),))
    assert sure(failed) < sure(failed, RED)


def test_a_closed_bead_has_a_label_and_says_why() -> None:
    """With nobody's work on record, a bare close is worth nothing; with a worker it is worth a little."""

    def fate(reason: str, by: str | None = "mayor", **more: object) -> tuple[str, float]:
        outcome = judge_bead(close(5, reason, by, **more))
        assert outcome.evidence
        return outcome.label, outcome.confidence

    assert ("unknown", 0.2) == fate("Closed", assignee=None)
    assert ("completed", 0.3) == fate("Closed")
    assert ("completed", 0.5) == fate("Closed", REFINERY)
    assert ("merged", 0.9) == fate("Merged in hb-wisp-a", REFINERY)
    assert ("administrative", 0.85) == fate("Stale backlog")
    assert ("administrative", 0.75) == fate("Email sent", swept=True)
    works = find_stints([Change("hb-1", NUX, NOON, "assigned")], [close(9)], [landed(8)])
    assert "merged" == judge_bead(close(9), works).label


def test_findings_go_to_the_work_that_they_are_about() -> None:
    """Two polecats at one bead: what was handed in by the first is not the second's."""
    changes = [Change("hb-1", NUX, NOON, "assigned"), Change("hb-1", NUX, at(5), "done")]
    changes += [Change("hb-1", SLIT, at(30), "assigned"), Change("hb-1", SLIT, at(40), "done")]
    findings = [
        decision(20, "rejected"), decision(50, "merged", actor=SLIT, since=at(40)),
        landed(50, actor=SLIT, since=at(38)),
        Finding("nudged", at(35), actor=SLIT), Finding("estopped", at(2), what="town"), exited(5, "COMPLETED"),
    ]  # fmt: skip
    first, second = find_stints(changes, [close(51, "Merged in hb-wisp-b", by=REFINERY)], findings)
    assert ["estopped", "exit", "decision"] == [finding.kind for finding in first.findings]
    assert ["nudged", "decision", "landed"] == [finding.kind for finding in second.findings]
    assert at(30) == first.given_again_at
    labels = [judge(stint, replace(SESSION, actor=stint.actor), None).label for stint in (first, second)]
    assert ["rejected", "merged"] == labels


def test_a_sweep_is_many_beads_by_one_actor_within_a_minute() -> None:
    def closes(*seconds: float, by: str | None = "mayor") -> list[tuple[str, int, str | None, datetime]]:
        return [(f"hb-{number}", 1, by, NOON + timedelta(seconds=second)) for number, second in enumerate(seconds)]

    def found(given: list[tuple[str, int, str | None, datetime]]) -> list[int]:
        return sorted(int(bead[3:]) for bead, _ in swept(given, beads=5, within_s=60))

    assert [0, 1, 2, 3, 4] == found(closes(0, 1, 2, 3, 60))
    assert [] == found(closes(0, 1, 2, 3, 61))
    assert [1, 2, 3, 4, 5, 6] == found(closes(0, 100, 110, 120, 130, 140, 170, 300))
    assert [] == found(closes(0, 1, 2, 3, 4, by=None))


findings_of_anything = st.builds(
    lambda kind, minutes, what, reverted, late: Finding(
        kind, at(minutes), bead="hb-1", what=what, names=("hb-wisp-a", SHA) if kind == "decision" else (SHA,),
        reverted_at=at(reverted) if reverted else None, reverted_by=OTHER if reverted else "", reverted_late=late,
    ),
    kind=st.sampled_from(["decision", "landed", "reverted", "exit", "escalated", "nudged", "estopped", "request"]),
    minutes=st.integers(0, 90),
    what=st.sampled_from(["merged", "rejected", "failed", "void", "COMPLETED", "ESCALATED", "DEFERRED push_failed"]),
    reverted=st.sampled_from([None, None, 40, 200]),
    late=st.booleans(),
)  # fmt: skip


@given(
    findings=st.lists(findings_of_anything, max_size=6),
    reason=st.sampled_from(["", "Closed", "Merged in hb-wisp-a", "Stale", "Fixed: it", "rejected", "Email sent", None]),
    how=st.sampled_from([None, "done", "requeue", "taken"]),
    died=st.booleans(),
    said=st.sampled_from([None, "COMPLETED", "ESCALATED", "handoff"]),
    signals=st.sampled_from([None, GREEN, RED]),
    chance=st.randoms(),
)
def test_what_is_stored_is_enough_to_decide_again(
    findings: list[Finding],
    reason: str | None,
    how: str,
    died: bool,
    said: str | None,
    signals: Signals | None,
    chance: object,
) -> None:
    """Label and confidence follow from the facts alone, which come through JSON unchanged; their order is no matter."""
    ended = None if reason is None else close(60, reason, by="mayor")
    stint = Stint("hb-1", 1, NUX, NOON, at(55) if how else None, how, ended, tuple(findings))  # type: ignore[arg-type]
    session = replace(SESSION, died=died, ended_at=at(50) if died else None)
    outcome = judge(stint, session, said, signals)
    stored = Outcome.model_validate_json(outcome.model_dump_json())
    assert (stored.label, stored.confidence) == decide(stored.evidence)
    assert outcome == judge(replace(stint, findings=tuple(findings[::-1])), session, said, signals)
    assert 0.0 < outcome.confidence <= 0.99


def test_the_details_of_facts_are_words_ids_and_times() -> None:
    """No text that anybody wrote gets into the evidence."""
    wild = "Fixed: the password is hunter2"
    stint = replace(WORK, close=close(9, wild, by="mayor"), findings=(decision(10, "rejected", SHA), landed(9)))
    assert "hunter2" not in judge(stint, SESSION, "COMPLETED", RED).model_dump_json()


async def told_of_merge(folder: Path, days: float) -> list[str]:
    """A polecat's work, merged; so many days later its commit is taken back. The labels of the stored entry."""
    town = make_town(folder / "town", "harbor")
    builder = TranscriptBuilder("0b9c2f0e-5f2e-4f0e-9f65-0d2a54a8c111", cwd=str(town / NUX), start=START)
    builder.user("Run what is on your hook.")
    builder.bash("bd show ha-1", "a task")
    builder.bash("make test", "ok")
    builder.bash("gt done", "ok")
    done = builder.now
    path = builder.write(town / "claude")
    later = START.timestamp() + 90 * 86_400
    merged = done + timedelta(minutes=10)
    common = {"bead": "ha-1", "actor": NUX}
    async with bench(folder, town, clock=lambda: later) as here:
        await here.tell(
            SessionStarted(at=START, seen_by="hook", session_id=path.stem, transcript_path=str(path), role="polecat",
                           rig="harbor", actor=NUX, tmux_session="ha-nux", cwd=str(town / NUX)),
            BeadAssigned(at=START, seen_by="feed", **common),
            BeadReleased(at=done, seen_by="feed", how="done", **common),
            BeadClosed(at=merged, seen_by="poll", database="harbor", bead="ha-1", assignee=NUX, closed_by=REFINERY,
                       reason="Merged in ha-wisp-1"),
        )  # fmt: skip
        seen: list[str] = [entry.outcome.label for entry in here.entries()]
        request = {"database": "harbor", "request": "ha-wisp-1", "reason": "merged", "merge_commit": SHA}
        await here.tell(MergeDecided(at=merged, seen_by="poll", submitted_at=done, **common, **request))
        revert = RevertedCommit(by=OTHER, at=merged + timedelta(days=days), sha=SHA)
        await here.tell(CommitsLanded(at=revert.at, seen_by="poll", repository="harbor", reverts=(revert,)))
        await here.tell(CommitsLanded(at=revert.at, seen_by="poll", repository="harbor", reverts=(revert,)))
        [entry] = here.entries()
        return [*seen, entry.outcome.label]


async def test_a_revert_relabels_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the commit that the request became, though the commit itself names no bead; a second report is no news."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "a" / "town" / "claude"))
    (tmp_path / "a").mkdir()
    assert ["merged", "reverted"] == await told_of_merge(tmp_path / "a", days=3)


async def test_a_revert_after_the_days_that_count_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "a" / "town" / "claude"))
    (tmp_path / "a").mkdir()
    assert ["merged", "merged"] == await told_of_merge(tmp_path / "a", days=20)
