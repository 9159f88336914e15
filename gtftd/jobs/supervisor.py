"""Keeps the children of runs: starts, watches, pauses, adopts and resumes them, and sees that each is taken up once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gtftd.errors import Busy, GtftdError, NonRetriable
from gtftd.health import Health
from gtftd.jobs import marks
from gtftd.jobs.adopt import Grip, try_grip
from gtftd.jobs.alone import supervising
from gtftd.jobs.ceilings import Ceilings, memory_ceiling, threads_for
from gtftd.jobs.child import TAKEN
from gtftd.jobs.decide import Limits, Seen, Step, Verdict, decide
from gtftd.jobs.launch import launch, train_program
from gtftd.jobs.listing import unended_runs
from gtftd.jobs.rundir import RunFolder, runs_folder
from gtftd.logs import get_logger
from gtftd.schemas.settings import TrainingSettings
from gtftd.schemas.training import RunResult, RunSpec, StepLine
from gtftd.schemas.training_orders import Life, Settled, Wish
from gtftd.state.crash import crash_point

log = get_logger("jobs")
COMPONENT = "training"
POLL_S = 1.0
LONGEST_WAIT_S = 300.0
Judge = Callable[[RunSpec], Verdict]
Program = Callable[[Path], list[str]]


class Listener(Protocol):
    """Whom the life of runs is told to. Everything may be told twice."""

    async def waits(self, spec: RunSpec) -> None: ...
    async def began(self, spec: RunSpec) -> None: ...
    async def saved(self, spec: RunSpec, line: StepLine) -> None: ...
    async def halted(self, spec: RunSpec, why: str, *, died: bool) -> None: ...
    async def ended(self, spec: RunSpec, result: RunResult, folder: Path) -> Settled: ...


@dataclass
class _Child:
    """A living child, and what its supervisor knows of it."""

    grip: Grip
    signs: tuple[int, int]
    changed_at: float
    asked_at: float | None = None
    why: str = ""


@dataclass
class _Known:
    """What is remembered of a run between two looks; nothing that must survive."""

    told: bool = False
    saved_step: int = -1
    failures: int = 0
    not_before: float = 0.0
    halted_for: str = ""


@dataclass(frozen=True)
class _Look:
    """One run's files, read once."""

    folder: RunFolder
    spec: RunSpec
    result: RunResult | None
    wish: Wish | None
    life: Life
    last_step: int
    signs: tuple[int, int]
    verdict: Verdict


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
    _children: dict[str, _Child] = field(default_factory=dict)
    _known: dict[str, _Known] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _quitting: str = ""
    _quit_at: float | None = None

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
                while not (until_idle and await self._is_idle()):
                    await self._look()
                    if self._has_quit():
                        return
                    await self._wait()
            finally:
                for child in self._children.values():
                    self._let_go(child)
                self._children.clear()

    def _has_quit(self) -> bool:
        """A child that takes too long is left: it was asked, and the next supervisor finds what it wrote."""
        if not self._quitting:
            return False
        self._quit_at = self._quit_at or self.clock()
        return not self._children or self.clock() - self._quit_at > self.settings.stop_s

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
        return not self._children and all(look.wish is not None and look.wish.will == "pause" for look in looks)

    async def _look(self) -> None:
        """Every run once, the oldest first."""
        try:
            looks = await asyncio.to_thread(self._read)
        except OSError as error:
            self.health.degraded(COMPONENT, "runs.unreadable", str(error))
            return
        self._end_strays({look.spec.run for look in looks})
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

    def _end_strays(self, known: Collection[str]) -> None:
        """Children whose run somebody deleted."""
        for run, child in [(run, child) for run, child in self._children.items() if run not in known]:
            if child.grip.ended() is not None:
                self._let_go(child)
                del self._children[run]
            elif child.asked_at is None:
                log.warning("run.vanished", run_id=run, pid=child.grip.pid)
                child.asked_at = self.clock()
                child.grip.signal(signal.SIGTERM)
            elif self.clock() - child.asked_at > self.settings.stop_s:
                child.grip.signal(signal.SIGKILL)

    def _read(self) -> list[_Look]:
        looks = []
        for folder in unended_runs(self.state_dir):
            if self.only and folder.name not in self.only:
                continue
            spec = folder.try_spec()
            if spec is not None and spec.run == folder.name:
                verdict = Verdict("pause", self._quitting) if self._quitting else self.judge(spec)
                life, last, signs = folder.life(), folder.last_step(), folder.signs()
                looks.append(_Look(folder, spec, folder.result(), folder.wish(), life, last, signs, verdict))
        return looks

    async def _tend(self, look: _Look) -> None:
        run = look.spec.run
        known = self._known.setdefault(run, _Known())
        if not known.told:
            await self.listener.waits(look.spec)
            known.told = True
        child = self._children.get(run) or self._adopt(look)
        if child is not None and (code := child.grip.ended()) is not None:
            await self._bury(look, child, code)
            return  # its files may have changed since they were read
        if child is not None:
            await self._watch(look, child, known)
        step = decide(self._seen(look, child, known), self._limits())
        await self._do(step, look, child, known)

    def _adopt(self, look: _Look) -> _Child | None:
        grip = try_grip(look.folder.path)
        if grip is None:
            return None
        log.info("run.adopted", run_id=look.spec.run, pid=grip.pid)
        return self._hold(look, grip)

    def _hold(self, look: _Look, grip: Grip) -> _Child:
        child = self._children[look.spec.run] = _Child(grip, look.signs, self.clock())
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(grip.pidfd)
            self.wake()

        loop.add_reader(grip.pidfd, ended)
        return child

    def _let_go(self, child: _Child) -> None:
        with contextlib.suppress(OSError, ValueError):
            asyncio.get_running_loop().remove_reader(child.grip.pidfd)
        child.grip.release()

    async def _bury(self, look: _Look, child: _Child, code: int) -> None:
        run = look.spec.run
        self._let_go(child)
        del self._children[run]
        self.wake()
        log.info("run.child_ended", run_id=run, pid=child.grip.pid, code=code, why=child.why)
        if code == TAKEN or look.folder.result() is not None:
            return
        why = child.why or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}")
        self._put_off(run)
        await asyncio.to_thread(marks.note, look.folder, f"its process died: {why}")
        await self.listener.halted(look.spec, f"its process died at step {look.folder.last_step()}: {why}", died=True)

    async def _watch(self, look: _Look, child: _Child, known: _Known) -> None:
        if look.signs == child.signs:
            return
        child.signs, child.changed_at = look.signs, self.clock()
        lines = await asyncio.to_thread(lambda: list(look.folder.last_lines()))
        saved = next((line for line in lines if line.checkpoint_s > 0), None)
        if saved is not None and saved.step != known.saved_step:
            known.saved_step, known.failures = saved.step, 0
            await self.listener.saved(look.spec, saved)

    def _seen(self, look: _Look, child: _Child | None, known: _Known) -> Seen:
        now = self.clock()
        asked_at = child.asked_at if child else None
        return Seen(
            lives=child is not None,
            result=look.result,
            will=look.wish.will if look.wish else "run",
            by=look.wish.by if look.wish else "",
            verdict=look.verdict,
            silent_s=now - child.changed_at if child else 0.0,
            asked_s=now - asked_at if asked_at is not None else None,
            starts=look.life.starts if look.last_step <= look.life.step else 0,
            may_start=len(self._children) < self.settings.slots and now >= known.not_before,
        )

    def _limits(self) -> Limits:
        return Limits(self.settings.silent_s, self.settings.stop_s, self.settings.most_starts)

    async def _do(self, step: Step, look: _Look, child: _Child | None, known: _Known) -> None:
        if step.act in {"start", "fail", "end"} and look.folder.result() != look.result:
            self.wake()  # its child has ended since the files were read
            return
        match step.act:
            case "start":
                await self._start(look)
            case "ask" if child is not None:
                is_silent = self.clock() - child.changed_at > self.settings.silent_s
                await asyncio.to_thread(marks.note, look.folder, step.why, asked=not is_silent)
                child.asked_at, child.why = self.clock(), step.why
                child.grip.signal(signal.SIGTERM)
                log.info("run.asked", run_id=look.spec.run, why=step.why)
            case "kill" if child is not None and not self._quitting:
                child.why = f"{child.why}; {step.why}"
                child.grip.signal(signal.SIGKILL)
                log.warning("run.killed", run_id=look.spec.run, why=child.why)
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

    async def _start(self, look: _Look) -> None:
        folder, settings, last = look.folder, look.spec.settings, look.last_step
        threads = look.life.threads or threads_for(settings.threads)
        starts = 1 if last > look.life.step else look.life.starts + 1
        life = Life(starts=starts, step=max(last, look.life.step), threads=threads)
        await asyncio.to_thread(folder.write_life, life)
        crash_point("jobs.before_start")
        program = self.program(folder.path) if self.program else train_program(self.settings.python, folder.path)
        ceilings = Ceilings(memory_ceiling(settings.memory_bytes), self.settings.nice)
        grip = await asyncio.to_thread(launch, folder.path, program, ceilings, threads)
        crash_point("jobs.started")
        self._hold(look, grip)
        self._known[look.spec.run].halted_for = ""
        log.info("run.started", run_id=look.spec.run, pid=grip.pid, starts=starts, threads=threads)
        await self.listener.began(look.spec)

    async def _settle(self, look: _Look, known: _Known) -> None:
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
        log.info("run.settled", run_id=look.spec.run, status=look.result.status, model=settled.model, why=settled.why)

    def _put_off(self, run: str) -> None:
        """Longer each time."""
        known = self._known.setdefault(run, _Known())
        wait_s = min(self.settings.restart_s * 2**known.failures, LONGEST_WAIT_S)
        known.failures, known.not_before = known.failures + 1, self.clock() + wait_s
