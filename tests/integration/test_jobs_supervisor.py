"""Runs as children: each that is asked for ends once, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gtftd.errors import Busy, Conflict, Unreachable
from gtftd.jobs.adopt import lock_holder, start_ticks, try_grip
from gtftd.jobs.alone import supervising
from gtftd.jobs.decide import Verdict
from gtftd.jobs.listing import read_run
from gtftd.jobs.marks import make_wish
from gtftd.jobs.supervisor import Supervisor
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunSpec
from tests.support.disk import small_disk
from tests.support.jobs import PATIENT, QUICK, Ear, made, spec, starts, supervisor, until

pytestmark = pytest.mark.timeout(60)
KEEPER = """
import asyncio, sys
from pathlib import Path
from tests.support.disk import small_disk
from tests.support.jobs import supervisor
asyncio.run(supervisor(Path(sys.argv[1])).run())
"""


@contextlib.asynccontextmanager
async def running(one: Supervisor) -> AsyncIterator[None]:
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        one.quit("the test is over")
        await task


def ear_of(one: Supervisor) -> Ear:
    assert isinstance(one.listener, Ear)
    return one.listener


async def test_a_run_is_started_watched_and_taken_up_once(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")
    one = supervisor(tmp_path)
    await one.run(until_idle=True)
    assert (["one"], 1) == (ear_of(one).settled, len(starts(folder)))
    assert ["waits", "began"] == ear_of(one).of("one")[:2]
    await supervisor(tmp_path, listener=ear_of(one)).run(until_idle=True)
    assert ["one"] == ear_of(one).settled
    seen = read_run(tmp_path, "one")
    assert ("done", 10, 10, 0.2, None) == (seen.stage, seen.step, seen.steps, seen.loss, seen.pid)
    assert 3.0 / 9 == seen.held_out_loss


async def test_the_same_run_twice_is_one_run(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", wait_at=2)
    one = supervisor(tmp_path)
    async with running(one):
        await until(lambda: (folder.path / "waits").exists())
        one.create(spec("one", tmp_path))
        with pytest.raises(Conflict, match="asks for something else"):
            one.create(spec("one", tmp_path, role="mayor"))
        (folder.path / "go").touch()
        await until(folder.settled)
    assert 1 == len(starts(folder))


async def test_runs_wait_for_a_slot_in_order(tmp_path: Path) -> None:
    first, second = made(tmp_path, "a", wait_at=2), made(tmp_path, "b")
    one = supervisor(tmp_path)
    async with running(one):
        await until(lambda: (first.path / "waits").exists())
        assert [] == starts(second)
        (first.path / "go").touch()
        await until(second.settled)
    assert ["a", "b"] == ear_of(one).settled


async def test_a_child_that_is_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", die_at=8)
    one = supervisor(tmp_path)
    await one.run(until_idle=True)
    steps = [json.loads(line)["step"] for line in (folder.path / "progress.ndjson").read_text().splitlines()]
    assert [*range(1, 8), *range(7, 11)] == steps
    assert (["one"], 2) == (ear_of(one).settled, len(starts(folder)))
    assert "died: its process died at step 7: killed by SIGKILL" in ear_of(one).of("one")
    assert "done" == read_run(tmp_path, "one").stage


async def test_a_run_that_dies_without_a_new_step_fails(tmp_path: Path) -> None:
    """Steps that it had reached before are not new."""
    folder = made(tmp_path, "one", always_die_at=5)
    one = supervisor(tmp_path)
    await one.run(until_idle=True)
    result = folder.result()
    assert result is not None
    assert (1 + 5, "failed", 4) == (len(starts(folder)), result.status, result.steps)
    assert "5 times without a new step" in result.reason
    assert "SIGKILL" in result.reason


async def test_a_child_that_hangs_is_ended_and_resumed(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", hang_at=5)
    one = supervisor(tmp_path, QUICK)
    await one.run(until_idle=True)
    assert (["one"], 2) == (ear_of(one).settled, len(starts(folder)))
    assert any("gave no sign of life for 0.5 s; it did not stop within 0.5 s" in told for told in ear_of(one).of("one"))


async def test_a_child_that_is_stopped_by_a_signal_is_waited_for(tmp_path: Path) -> None:
    """SIGSTOP, for many times as long as silence is borne: nobody kills it, everybody is told; it goes on as it was."""
    folder = made(tmp_path, "one", wait_at=5)
    looks: list[str] = []

    def judge(spec: RunSpec) -> Verdict:
        looks.append(spec.run)
        return Verdict()

    one = supervisor(tmp_path, TrainingSettings(silent_s=0.1, stop_s=0.1), judge=judge)
    async with running(one):
        await until(lambda: (folder.path / "waits").exists())
        pid = lock_holder(folder.path)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        looks.clear()
        await until(lambda: len(looks) > 60)
        told = f"its process {pid} was stopped by a signal; `kill -CONT {pid}` has it go on"
        assert f"halted: {told}" in ear_of(one).of("one")
        seen = read_run(tmp_path, "one")
        assert ("running", True) == (seen.stage, "is stopped by a signal" in seen.note)
        (folder.path / "go").touch()
        os.kill(pid, signal.SIGCONT)
        await until(folder.settled)
    seen = read_run(tmp_path, "one")
    assert ("done", "", 1) == (seen.stage, seen.note, len(starts(folder)))


async def test_a_child_that_is_stopped_by_a_signal_saves_when_it_is_paused(tmp_path: Path) -> None:
    """It has to go on for that; a pause is an order, too."""
    folder = made(tmp_path, "one", wait_at=5)
    one = supervisor(tmp_path)
    async with running(one):
        await until(lambda: (folder.path / "waits").exists())
        os.kill(lock_holder(folder.path) or 0, signal.SIGSTOP)
        make_wish(folder, "pause", "ann")
        await until(lambda: "halted: paused by ann" in ear_of(one).of("one"))
    result = folder.result()
    assert result is not None
    assert ("stopped", 4) == (result.status, result.steps)


async def test_silence_while_nobody_looked_is_held_against_nobody(tmp_path: Path) -> None:
    """The supervisor itself stood still for an hour, and its child with it."""
    folder = made(tmp_path, "one", hang_at=2)
    skipped = [0.0]
    one = supervisor(tmp_path, clock=lambda: time.monotonic() + skipped[0])
    async with running(one):
        await until(lambda: (folder.path / "hung").exists() and len(one._children))
        for hour in range(5):
            skipped[0] = 3600.0 * hour
            await asyncio.sleep(0.05)
        (child,) = one._children._living.values()
        assert None is child.asked_at
        child.grip.signal(signal.SIGKILL)
        await until(folder.settled)
    assert "done" == read_run(tmp_path, "one").stage


async def test_a_pause_stands_until_it_is_lifted(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", wait_at=4)
    one = supervisor(tmp_path)
    async with running(one):
        await until(lambda: (folder.path / "waits").exists())
        make_wish(folder, "pause", "ann")
        await until(lambda: "halted: paused by ann" in ear_of(one).of("one"))
        assert "paused" == read_run(tmp_path, "one").stage
    assert 1 == len(starts(folder))
    again = supervisor(tmp_path)
    await again.run(until_idle=True)
    assert 1 == len(starts(folder))
    (folder.path / "go").touch()
    make_wish(folder, "run", "ann")
    await supervisor(tmp_path).run(until_idle=True)
    assert ("done", 2) == (read_run(tmp_path, "one").stage, len(starts(folder)))


async def test_many_pauses_are_no_deaths(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", wait_at=1)
    for _ in range(7):
        one = supervisor(tmp_path)
        async with running(one):
            await until(lambda: (folder.path / "waits").exists())
        (folder.path / "waits").unlink()
    (folder.path / "go").touch()
    await supervisor(tmp_path).run(until_idle=True)
    assert "done" == read_run(tmp_path, "one").stage


@pytest.mark.root
async def test_a_full_disk_keeps_no_run_from_being_paused_and_costs_no_start(tmp_path: Path) -> None:
    """Again and again, without one new step. The disk is freed when its end was found and could not be noted."""
    no_room = "halted: no room on the disk; it goes on from its last checkpoint when there is"
    with small_disk(tmp_path / "disk", size_mib=4) as disk:
        folder, verdict = made(disk.root, "one", wait_at=1), [Verdict()]
        one = supervisor(disk.root, PATIENT.model_copy(update={"most_starts": 2}), judge=lambda _: verdict[0])
        async with running(one):
            for number in range(1, 4):
                await until(lambda: (folder.path / "waits").exists())
                disk.fill()
                verdict[0] = Verdict("pause", "the town's ESTOP stands")
                await until(lambda number=number: number == ear_of(one).of("one").count(no_room))
                (folder.path / "waits").unlink()
                verdict[0] = Verdict()
                disk.free()
            await until(lambda: (folder.path / "waits").exists())
            assert (4, 1) == (len(starts(folder)), folder.life().starts)
            (folder.path / "go").touch()
            await until(folder.settled)
        assert "done" == read_run(disk.root, "one").stage


async def test_a_stop_is_an_ending(tmp_path: Path) -> None:
    """Of a run that lives, and of one that waits."""
    living, waiting = made(tmp_path, "a", wait_at=4), made(tmp_path, "b")
    one = supervisor(tmp_path)
    async with running(one):
        await until(lambda: (living.path / "waits").exists())
        make_wish(waiting, "stop", "ann")
        make_wish(living, "stop", "ann")
        await until(living.settled)
        await until(waiting.settled)
    assert {"stopped"} == {read_run(tmp_path, run).stage for run in "ab"}
    assert [] == starts(waiting)


async def test_a_stop_of_the_town_pauses_and_its_end_resumes(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", wait_at=4)
    verdicts = [Verdict()]
    one = supervisor(tmp_path, judge=lambda _: verdicts[-1])
    async with running(one):
        await until(lambda: (folder.path / "waits").exists())
        verdicts.append(Verdict("pause", "the town is stopped"))
        await until(lambda: "halted: the town is stopped" in ear_of(one).of("one"))
        (folder.path / "go").touch()
        verdicts.append(Verdict())
        await until(folder.settled)
    assert ("done", 2) == (read_run(tmp_path, "one").stage, len(starts(folder)))


async def test_what_may_not_go_on_is_ended(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", wait_at=4)
    verdicts = [Verdict()]
    one = supervisor(tmp_path, judge=lambda _: verdicts[-1])
    async with running(one):
        await until(lambda: (folder.path / "waits").exists())
        verdicts.append(Verdict("end", "its snapshot is tainted"))
        await until(folder.settled)
    seen = read_run(tmp_path, "one")
    assert ("failed", True) == (seen.stage, seen.note.startswith("its snapshot is tainted"))


async def test_an_ending_that_cannot_be_taken_up_yet_is_tried_again(tmp_path: Path) -> None:
    made(tmp_path, "one")
    one = supervisor(tmp_path, listener=Ear(fails=[Busy("locked"), Unreachable("away")]))
    await one.run(until_idle=True)
    assert ["one"] == ear_of(one).settled


async def test_an_ending_that_never_can_be_taken_up_says_why(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")
    await supervisor(tmp_path, listener=Ear(fails=[Conflict("no such thing")])).run(until_idle=True)
    settled = folder.settled()
    assert settled is not None
    assert "no such thing" == settled.why


async def test_garbage_of_a_child_harms_nobody(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", garbage=True, steps=4)
    await supervisor(tmp_path).run(until_idle=True)
    assert ("done", 4) == (read_run(tmp_path, "one").stage, read_run(tmp_path, "one").step)
    for garbage in (b"", b"\xff{", b"[" * 100_000, b'{"status": "done"}'):
        (folder.path / "registered.json").unlink(missing_ok=True)
        (folder.path / "result.json").write_bytes(garbage)
        await supervisor(tmp_path).run(until_idle=True)
        assert ("failed", True) == (read_run(tmp_path, "one").stage, "cannot be read" in read_run(tmp_path, "one").note)


async def test_folders_that_are_no_runs_are_left_alone(tmp_path: Path) -> None:
    made(tmp_path, "one")
    broken = made(tmp_path, "two")
    (broken.path / "spec.json").write_bytes(b"\x00{")
    (tmp_path / "runs" / "three").mkdir()
    moved = made(tmp_path, "four")
    moved.path.rename(moved.path.with_name("five"))
    one = supervisor(tmp_path)
    await one.run(until_idle=True)
    assert ["one"] == ear_of(one).settled


async def test_the_child_of_a_deleted_run_is_ended(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", hang_at=2)
    one = supervisor(tmp_path, TrainingSettings(stop_s=0.2))
    task = asyncio.create_task(one.run(until_idle=True))
    await until(lambda: (folder.path / "hung").exists())
    shutil.rmtree(folder.path)
    await task
    assert 0 == len(one._children)


async def test_a_killed_supervisor_leaves_its_child_to_the_next(tmp_path: Path) -> None:
    """The child notices nothing: it is adopted, and ends as it would have."""
    folder = made(tmp_path, "one", wait_at=4)
    with subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path)]) as keeper:
        await until(lambda: (folder.path / "waits").exists())
        pid = lock_holder(folder.path)
        keeper.kill()
    one = supervisor(tmp_path)
    async with running(one):
        await until(lambda: len(one._children))
        assert pid == read_run(tmp_path, "one").pid
        (folder.path / "go").touch()
        await until(folder.settled)
    assert (1, "done") == (len(starts(folder)), read_run(tmp_path, "one").stage)


async def test_both_are_killed_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", wait_at=5)
    with subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path)]) as keeper:
        await until(lambda: (folder.path / "waits").exists())
        grip = try_grip(folder.path)
        assert grip is not None
        keeper.kill()
        grip.signal(signal.SIGKILL)
        grip.release()
    (folder.path / "go").touch()
    one = supervisor(tmp_path)
    await one.run(until_idle=True)
    assert (2, "done", ["one"]) == (len(starts(folder)), read_run(tmp_path, "one").stage, ear_of(one).settled)


@pytest.mark.parametrize("point", ["jobs.before_start", "jobs.started", "jobs.before_settled"])
async def test_a_supervisor_may_die_at_any_point(tmp_path: Path, point: str) -> None:
    folder = made(tmp_path, "one")
    died = subprocess.run(
        [sys.executable, "-c", KEEPER, str(tmp_path)], env=os.environ | {"GTFTD_CRASH_AT": point}, check=False
    )
    assert -signal.SIGKILL == died.returncode
    one = supervisor(tmp_path)
    await one.run(until_idle=True)
    assert (["one"], "done") == (ear_of(one).settled, read_run(tmp_path, "one").stage)
    assert 1 == len(starts(folder))


async def test_two_supervisors_take_turns(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")
    one = supervisor(tmp_path)
    with supervising(tmp_path), pytest.raises(Busy):
        supervising(tmp_path)
    with supervising(tmp_path):
        async with running(one):
            await until(lambda: not one.health.is_ok)
            one.wake()
            assert [] == starts(folder)
            one._quitting = ""
    await supervisor(tmp_path).run(until_idle=True)
    assert folder.settled() is not None


async def test_a_number_that_another_has_now_is_never_signalled(tmp_path: Path) -> None:
    """Whatever stands in pid.json: a process that does not hold the run's lock is none of ours."""
    folder = made(tmp_path, "one")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        ticks = start_ticks(stranger.pid)
        for garbage in (json.dumps({"pid": stranger.pid, "start_ticks": ticks, "boot_id": ""}), "\x00", "[" * 9999):
            (folder.path / "pid.json").write_text(garbage)
            assert try_grip(folder.path) is None
        make_wish(folder, "stop", "ann")
        await supervisor(tmp_path, QUICK).run(until_idle=True)
        assert stranger.poll() is None
        stranger.kill()
    assert "stopped" == read_run(tmp_path, "one").stage


async def test_the_ceilings_are_really_set(tmp_path: Path) -> None:
    folder = made(tmp_path, "one", wait_at=2)
    folder.path.joinpath("spec.json").unlink()
    folder.create(spec("one", tmp_path, settings={"memory_bytes": 3 * 2**30, "threads": 3}))
    one = supervisor(tmp_path, TrainingSettings(restart_s=0.01, nice=7))
    async with running(one):
        await until(lambda: (folder.path / "waits").exists())
        pid = lock_holder(folder.path)
        proc = Path(f"/proc/{pid}")
        limits = {line[:25].strip(): line[25:].split()[:2] for line in (proc / "limits").read_text().splitlines()}
        stat = (proc / "stat").read_text().rpartition(")")[2].split()
        assert [str(3 * 2**30)] * 2 == limits["Max data size"]
        assert ["0", "0"] == limits["Max core file size"]
        assert "900" == (proc / "oom_score_adj").read_text().strip()
        assert (7, pid) == (int(stat[16]), int(stat[3])), "nice, and a session of its own"
        if (autogroup := proc / "autogroup").exists() and autogroup.read_text():
            assert "nice 7" == autogroup.read_text().partition(" ")[2].strip()
        told = json.loads((folder.path / "pid.json").read_text())
        assert (pid, start_ticks(pid or 0)) == (told["pid"], told["start_ticks"])
        assert [f"{pid} 3"] == starts(folder)
        (folder.path / "go").touch()
        await until(folder.settled)


async def test_a_run_keeps_its_number_of_threads(tmp_path: Path) -> None:
    """However busy the machine is when it goes on: with another number the sums would be others."""
    folder = made(tmp_path, "one", die_at=5)
    await supervisor(tmp_path, PATIENT).run(until_idle=True)
    first, second = (line.split()[1] for line in starts(folder))
    assert first == second
