"""What is done about a run: properties of the decider, and what a machine may be asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.jobs.ceilings import enter_cgroup, memory_ceiling
from gtftd.jobs.decide import Limits, Seen, Verdict, decide
from gtftd.jobs.endings import NO_MEMORY, NO_ROOM, read_ending
from gtftd.machine import choose_threads
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
    is_stepping=st.booleans(),
    starts=st.integers(0, 6),
    oom_kills=st.integers(0, 3),
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


@given(seen)
def test_a_child_is_waited_for_longer_while_its_base_is_loaded(one: Seen) -> None:
    """Silence between two steps is another thing than silence before the first."""
    waits = replace(one, lives=True, will="run", verdict=Verdict(), asked_s=None, is_stepping=False)
    assert ("nothing", "ask") == (
        decide(replace(waits, silent_s=601.0), LIMITS).act, decide(replace(waits, silent_s=3601.0), LIMITS).act,
    )  # fmt: skip
    assert decide(replace(waits, silent_s=601.0, is_stepping=True), LIMITS).is_silent


def test_a_child_that_dies_for_want_of_memory_has_two_lives() -> None:
    assert "start" == decide(Seen(lives=False, starts=1, oom_kills=1), LIMITS).act
    last = decide(Seen(lives=False, starts=2, oom_kills=2), LIMITS)
    assert ("fail", True) == (last.act, "needed more memory" in last.why and "data.most_tokens" in last.why)


@pytest.mark.parametrize(
    ("code", "asked", "oom_killed", "is_full", "last_words", "why", "is_short", "wanted_memory"),
    [
        (-9, "", False, False, "", "killed by SIGKILL", False, False),
        (-9, "", True, False, "", "killed by the kernel, which had no memory left for it", False, True),
        (0, "", True, False, "", "killed by the kernel, which had no memory left for it", False, True),
        (-9, "it hung", True, False, "", "it hung", False, False),
        (-6, "", False, False, "std::bad_alloc", "killed by SIGABRT: memory was refused to it", False, True),
        (-11, "", True, False, "", "killed by SIGSEGV", False, False),
        (1, "", False, False, "", "ended with status 1", False, False),
        (0, "", False, False, "", "left no result", False, False),
        (-35, "", False, False, "", "killed by signal 35", False, False),
        (1, "", False, True, "", "no room on the disk", True, False),
        (NO_ROOM, "it hung", False, False, "", "no room on the disk", True, False),
        (NO_MEMORY, "", False, False, "", "too little memory is free now", True, False),
    ],
)
def test_an_ending_without_a_result_is_told_from_others(
    code: int, asked: str, oom_killed: bool, is_full: bool, last_words: str, why: str, is_short: bool,
    wanted_memory: bool,
) -> None:  # fmt: skip
    ending = read_ending(code, asked=asked, oom_killed=oom_killed, is_full=is_full, last_words=last_words)
    assert (True, is_short, wanted_memory) == (
        ending.why.startswith(why), ending.is_short, ending.wanted_memory,
    )  # fmt: skip


def test_one_thread_on_a_busy_machine() -> None:
    """Unless somebody said how many."""
    none, said = {"OMP_NUM_THREADS": "many"}, {"OMP_NUM_THREADS": "2,1"}
    assert [8, 8, 1, 3, 2] == [
        choose_threads(None, load=0.0, cores=8, environ=none), choose_threads(None, load=4.0, cores=8, environ={}),
        choose_threads(None, load=4.1, cores=8, environ={}), choose_threads(3, load=9.0, cores=8, environ=said),
        choose_threads(None, load=9.0, cores=8, environ=said),
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
    (tmp_path / "gtftd-before.scope").mkdir()
    group = enter_cgroup("one", 2**30, own)
    assert group is not None
    assert (str(2**30), str(os.getpid())) == ((group / "memory.max").read_text(), (group / "cgroup.procs").read_text())
    assert [group] == list(tmp_path.glob("*.scope")), "those of runs that have ended are gone"
