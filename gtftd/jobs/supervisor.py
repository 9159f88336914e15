"""Keeps the children of runs: starts, watches, pauses, adopts and resumes them, and sees that each is taken up once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gtftd.errors import Busy, GtftdError, NonRetriable, NoSpace
from gtftd.health import Health
from gtftd.jobs import marks
from gtftd.jobs.alone import supervising
from gtftd.jobs.ceilings import Ceilings, memory_ceiling
from gtftd.jobs.child import TAKEN
from gtftd.jobs.children import Child, Children
from gtftd.jobs.decide import Limits, Seen, Step, Verdict, decide
from gtftd.jobs.endings import read_ending
from gtftd.jobs.launch import launch, train_program
from gtftd.jobs.look import Judge, Known, Look, look_at
from gtftd.jobs.retention import free_ended_runs
from gtftd.jobs.rundir import RunFolder, runs_folder
from gtftd.logs import get_logger
from gtftd.machine import choose_threads
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunResult, RunSpec, StepLine
from gtftd.schemas.training_orders import Life, Settled
from gtftd.state.crash import crash_point

log = get_logger("jobs")
COMPONENT = "training"
POLL_S = 1.0
LONGEST_WAIT_S = 300.0
MISSED_LOOKS = 20
"""Of a longer time between two looks no more counts as silence."""
Program = Callable[[Path], list[str]]


class Listener(Protocol):
    """Whom the life of runs is told to. Everything may be told twice."""

    async def waits(self, spec: RunSpec) -> None: ...
    async def began(self, spec: RunSpec) -> None: ...
    async def saved(self, spec: RunSpec, line: StepLine) -> None: ...
    async def halted(self, spec: RunSpec, why: str, *, died: bool) -> None: ...
    async def ended(self, spec: RunSpec, result: RunResult, folder: Path) -> Settled: ...


@dataclass
class Supervisor:
    """One at a time for a state directory: a lock says so. All that it must not forget is in the runs' folders."""

    state_dir: Path
    settings: TrainingSettings
    listener: Listener
    health: Health
    judge: Judge = lambda _: Verdict()
    only: Collection[str] = ()
    """Of these runs alone; all of them when empty."""
    program: Program | None = None
    clock: Callable[[], float] = time.monotonic
    poll_s: float = POLL_S
    _children: Children = field(init=False)
    _known: dict[str, Known] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _quitting: str = ""
    _quit_at: float | None = None

    def __post_init__(self) -> None:
        self._children = Children(self.wake, self.clock)

    def create(self, spec: RunSpec) -> None:
        """The run exists when this returns; once. It starts when there is a slot."""
        RunFolder(runs_folder(self.state_dir) / spec.run).create(spec)

    def wake(self) -> None:
        self._woken.set()

    def quit(self, why: str) -> None:
        """Ask every child to save and stop, start none any more, and let `run` return when they have."""
        self._quitting = why
        self.wake()

    async def run(self, *, until_idle: bool = False) -> None:
        """Until `quit`, or until nothing is left to do. Cancelled, it leaves the children alive for the next."""
        alone = await self._alone()
        if alone is None:
            return
        with alone:
            try:
                await self._free_ended()
                while not (until_idle and await self._is_idle()):
                    await self._look()
                    if self._has_quit():
                        return
                    await self._wait()
            finally:
                self._children.let_all_go()

    def _has_quit(self) -> bool:
        """A child that takes too long is left: it was asked, and the next supervisor finds what it wrote."""
        if not self._quitting:
            return False
        self._quit_at = self._quit_at or self.clock()
        return not len(self._children) or self.clock() - self._quit_at > self.settings.stop_s

    async def _alone(self) -> contextlib.AbstractContextManager[None] | None:
        """None when it was told to quit before its turn came."""
        while not self._quitting:
            try:
                return supervising(self.state_dir)
            except Busy as error:
                self.health.degraded(COMPONENT, "training.busy", str(error))
            await self._wait()
        return None

    async def _wait(self) -> None:
        now = self.clock()
        due_s = [known.not_before - now for known in self._known.values() if known.not_before > now]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min([self.poll_s, *due_s])):
                await self._woken.wait()
        self._woken.clear()

    async def _is_idle(self) -> bool:
        """Whatever is left is paused by its operator."""
        looks = await asyncio.to_thread(self._read)
        return not len(self._children) and all(look.wish is not None and look.wish.will == "pause" for look in looks)

    async def _look(self) -> None:
        """Every run once, the oldest first."""
        try:
            looks = await asyncio.to_thread(self._read)
        except OSError as error:
            self.health.degraded(COMPONENT, "runs.unreadable", str(error))
            return
        self._children.end_strays({look.spec.run for look in looks}, self.settings.stop_s)
        troubles = []
        for look in looks:
            try:
                await self._tend(look)
            except (GtftdError, OSError) as error:
                self._put_off(look.spec.run)
                troubles.append(f"{look.spec.run}: {error}")
                log.warning("run.troubled", run_id=look.spec.run, error=str(error))
        if troubles:
            self.health.degraded(COMPONENT, "run.troubled", "; ".join(troubles))
        else:
            self.health.ok(COMPONENT, f"{len(self._children)} running, {len(looks) - len(self._children)} waiting")

    def _read(self) -> list[Look]:
        quitting = Verdict("pause", self._quitting)
        return look_at(self.state_dir, self.only, (lambda _: quitting) if self._quitting else self.judge)

    async def _tend(self, look: Look) -> None:
        run = look.spec.run
        known = self._known.setdefault(run, Known())
        if not known.told:
            await self.listener.waits(look.spec)
            known.told = True
        child = self._children.find(look.folder, look.signs)
        if child is not None and (code := child.grip.ended()) is not None:
            await self._bury(look, child, code)
            return  # its files may have changed since they were read
        if known.unnoted is not None:
            await self._note_ending(look, known)
            return
        if child is not None:
            await self._watch(look, child, known)
        step = decide(self._seen(look, child, known), self._limits())
        await self._do(step, look, child, known)

    async def _bury(self, look: Look, child: Child, code: int) -> None:
        run, folder = look.spec.run, look.folder
        self._children.let_go(child)
        self.wake()
        log.info("run.child_ended", run_id=run, pid=child.grip.pid, code=code, why=child.why)
        if code == TAKEN or folder.result() is not None:
            return
        ending = read_ending(
            code,
            asked=child.why,
            oom_killed=child.oom.has_killed(),
            is_full=not await asyncio.to_thread(folder.has_room),
            last_words=folder.log_tail(),
        )
        self._put_off(run)
        why = ending.why if ending.is_short else f"its process died: {ending.why}"
        known = self._known[run]
        known.unnoted = (ending, why)
        with contextlib.suppress(NoSpace):
            await self._note_ending(look, known)
        if not ending.is_short:
            why = f"its process died at step {folder.last_step()}: {ending.why}"
        await self.listener.halted(look.spec, why, died=not ending.is_short)

    async def _note_ending(self, look: Look, known: Known) -> None:
        """Raises NoSpace; then a later look does it, before the run is judged by how often it has started."""
        if known.unnoted is not None:
            await asyncio.to_thread(marks.note_ending, look.folder, *known.unnoted)
            known.unnoted = None

    async def _watch(self, look: Look, child: Child, known: Known) -> None:
        was_stopped = child.is_stopped
        moved = child.see(look.signs, self.clock(), MISSED_LOOKS * self.poll_s)
        if child.is_stopped and not was_stopped:
            why = f"its process {child.grip.pid} was stopped by a signal; `kill -CONT {child.grip.pid}` has it go on"
            await self.listener.halted(look.spec, why, died=False)
        if not moved:
            return
        lines = await asyncio.to_thread(lambda: list(look.folder.last_lines()))
        saved = next((line for line in lines if line.checkpoint_s > 0), None)
        if saved is not None and saved.step != known.saved_step:
            known.saved_step, known.failures = saved.step, 0
            await self.listener.saved(look.spec, saved)

    def _seen(self, look: Look, child: Child | None, known: Known) -> Seen:
        now = self.clock()
        asked_at = child.asked_at if child else None
        has_moved = look.last_step > look.life.step
        return Seen(
            lives=child is not None,
            result=look.result,
            will=look.wish.will if look.wish else "run",
            by=look.wish.by if look.wish else "",
            verdict=look.verdict,
            silent_s=child.silent_s if child else 0.0,
            is_stepping=look.is_stepping,
            asked_s=now - asked_at if asked_at is not None else None,
            starts=0 if has_moved else look.life.starts,
            oom_kills=0 if has_moved else look.life.oom_kills,
            may_start=len(self._children) < self.settings.slots and now >= known.not_before,
        )

    def _limits(self) -> Limits:
        return Limits(self.settings.silent_s, self.settings.stop_s, self.settings.most_starts)

    async def _do(self, step: Step, look: Look, child: Child | None, known: Known) -> None:
        if step.act in {"start", "fail", "end"} and look.folder.result() != look.result:
            self.wake()  # its child has ended since the files were read
            return
        match step.act:
            case "start":
                await self._start(look)
            case "ask" if child is not None:
                with contextlib.suppress(NoSpace):  # it is asked all the same
                    await asyncio.to_thread(marks.note, look.folder, step.why, asked=not step.is_silent)
                child.ask(step.why, self.clock())
            case "kill" if child is not None and not self._quitting:
                child.kill(step.why)
            case "discard":
                await asyncio.to_thread(marks.go_on, look.folder)
                self.wake()
            case "fail" | "end":
                await asyncio.to_thread(marks.end, look.folder, step)
                self.wake()
            case "settle":
                await self._settle(look, known)
            case "nothing" if child is None and step.why and known.halted_for != step.why:
                known.halted_for = step.why
                await self.listener.halted(look.spec, step.why, died=False)

    async def _start(self, look: Look) -> None:
        """Raises NoSpace where its next checkpoint would find no room."""
        folder, settings, life = look.folder, look.spec.settings, look.life
        if not await asyncio.to_thread(folder.has_room):
            raise NoSpace(f"no room for a checkpoint in {folder.path}; it goes on when there is")
        threads = life.threads or choose_threads(settings.threads)
        fresh = Life(starts=1, step=look.last_step, threads=threads)
        again = life.model_copy(update={"starts": life.starts + 1, "threads": threads, "asked": False, "note": ""})
        await asyncio.to_thread(folder.write_life, fresh if look.last_step > life.step else again)
        crash_point("jobs.before_start")
        program = self.program(folder.path) if self.program else train_program(self.settings.python, folder.path)
        ceilings = Ceilings(memory_ceiling(settings.memory_bytes), self.settings.nice)
        grip = await asyncio.to_thread(launch, folder.path, program, ceilings, threads)
        crash_point("jobs.started")
        self._children.take(look.spec.run, grip, look.signs)
        self._known[look.spec.run].halted_for = ""
        log.info("run.started", run_id=look.spec.run, pid=grip.pid, starts=life.starts + 1, threads=threads)
        await self.listener.began(look.spec)

    async def _settle(self, look: Look, known: Known) -> None:
        """What came of it is taken up; killed before it is marked, the same is done again, which changes nothing."""
        assert look.result is not None
        if self.clock() < known.not_before:
            return
        try:
            settled = await self.listener.ended(look.spec, look.result, look.folder.path)
        except NonRetriable as error:
            settled = Settled(why=str(error), at=datetime.now(UTC))
        crash_point("jobs.before_settled")
        await asyncio.to_thread(look.folder.write_settled, settled)
        self._known.pop(look.spec.run, None)
        await self._free_ended()
        log.info("run.settled", run_id=look.spec.run, status=look.result.status, model=settled.model, why=settled.why)

    async def _free_ended(self) -> None:
        try:
            await asyncio.to_thread(free_ended_runs, self.state_dir, self.settings.keep_runs)
        except OSError as error:
            log.warning("runs.not_freed", reason=str(error))

    def _put_off(self, run: str) -> None:
        known = self._known.setdefault(run, Known())
        known.put_off(self.clock(), self.settings.restart_s, LONGEST_WAIT_S)
