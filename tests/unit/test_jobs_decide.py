"""What is done about a run: properties of the decider, and what a machine may be asked for."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gtftd.jobs.ceilings import enter_cgroup, memory_ceiling, threads_for
from gtftd.jobs.decide import Limits, Seen, Verdict, decide
from gtftd.schemas.training import RunResult

LIMITS = Limits(silent_s=600, stop_s=120, most_starts=5)
AT = datetime(2026, 11, 22, tzinfo=UTC)
results = st.none() | st.sampled_from(["done", "stopped", "failed"]).map(
    lambda status: RunResult(status=status, steps=1, at=AT)
)
seen = st.builds(
    Seen,
    lives=st.booleans(),
    result=results,
    will=st.sampled_from(["run", "pause", "stop"]),
    verdict=st.builds(Verdict, st.sampled_from(["run", "pause", "end"]), st.just("because")),
    silent_s=st.sampled_from([0.0, 599.0, 601.0]),
    asked_s=st.sampled_from([None, 0.0, 119.0, 121.0]),
    starts=st.integers(0, 6),
    may_start=st.booleans(),
)


@given(seen)
def test_a_living_child_is_only_asked_or_killed(one: Seen) -> None:
    """Nothing is started beside it, and nothing is taken up before it is gone."""
    act = decide(one, LIMITS).act
    if one.lives:
        assert act in {"nothing", "ask", "kill"}
        assert act != "kill" or (one.asked_s is not None and one.asked_s > LIMITS.stop_s)
    else:
        assert act not in {"ask", "kill"}


@given(seen)
def test_nothing_starts_that_somebody_holds_or_that_has_ended(one: Seen) -> None:
    if decide(one, LIMITS).act == "start":
        assert (False, None, "run", "run", True) == (one.lives, one.result, one.will, one.verdict.will, one.may_start)
        assert one.starts < LIMITS.most_starts


@given(seen)
def test_an_ending_is_taken_up_and_never_overwritten(one: Seen) -> None:
    """But for one that stopped for a while."""
    if not one.lives and one.result is not None and one.result.status != "stopped":
        assert "settle" == decide(one, LIMITS).act


@given(seen)
def test_every_step_that_ends_a_run_says_why(one: Seen) -> None:
    step = decide(one, LIMITS)
    assert step.act not in {"ask", "kill", "fail", "end"} or step.why


def test_one_thread_on_a_busy_machine() -> None:
    assert [8, 8, 1, 3] == [
        threads_for(None, load=0.0, cores=8), threads_for(None, load=4.0, cores=8),
        threads_for(None, load=4.1, cores=8), threads_for(3, load=9.0, cores=8),
    ]  # fmt: skip
    assert 5 == memory_ceiling(5)
    assert memory_ceiling(None) > 2**20


def test_a_control_group_is_used_only_where_memory_is_delegated(tmp_path: Path) -> None:
    own = tmp_path / "own.service"
    control = tmp_path / "cgroup.subtree_control"
    assert enter_cgroup("one", 2**30, own) is None
    control.write_text("cpu pids\n")
    assert enter_cgroup("one", 2**30, own) is None
    control.write_text("cpu memory\n")
    group = enter_cgroup("one", 2**30, own)
    assert group is not None
    assert (str(2**30), str(os.getpid())) == ((group / "memory.max").read_text(), (group / "cgroup.procs").read_text())
