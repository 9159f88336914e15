"""The living children of a supervisor: taken, watched for signs of life, asked, and let go."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gtftd.jobs.adopt import Grip, is_stopped, try_grip
from gtftd.jobs.rundir import RunFolder
from gtftd.logs import get_logger
from gtftd.machine import OomWatch

log = get_logger("jobs")


@dataclass
class Child:
    """A living child, and what its supervisor knows of it."""

    run: str
    grip: Grip
    signs: tuple[int, int]
    looked_at: float
    silent_s: float = 0.0
    """Since its last sign of life, as far as we looked and it could have given one."""
    is_stopped: bool = False
    """By a signal: whoever sent it has it go on when they like."""
    asked_at: float | None = None
    why: str = ""

    def __post_init__(self) -> None:
        self.oom = OomWatch(self.grip.pid)

    def see(self, signs: tuple[int, int], now: float, most_s: float) -> bool:
        """Whether it gave a sign of life since the last look. Of the time between two looks `most_s` counts at most:
        when nobody looked (we were stopped ourselves, or frozen with it), nothing is held against it.
        """
        was_stopped, self.is_stopped = self.is_stopped, is_stopped(self.grip.pid)
        if was_stopped != self.is_stopped:
            log.info("run.suspended" if self.is_stopped else "run.continued", run_id=self.run, pid=self.grip.pid)
        self.oom.look()
        moved = signs != self.signs
        watched_s = min(now - self.looked_at, most_s)
        self.silent_s = 0.0 if moved or self.is_stopped else self.silent_s + watched_s
        self.signs, self.looked_at = signs, now
        return moved

    def ask(self, why: str, now: float) -> None:
        """To save and stop. One that is stopped has to go on for that."""
        self.asked_at, self.why = now, why
        self.grip.signal(signal.SIGTERM)
        self.grip.signal(signal.SIGCONT)
        log.info("run.asked", run_id=self.run, why=why)

    def kill(self, why: str) -> None:
        self.why = f"{self.why}; {why}"
        self.grip.signal(signal.SIGKILL)
        log.warning("run.killed", run_id=self.run, why=self.why)


@dataclass
class Children:
    """By run. `wake` is called when one ends."""

    wake: Callable[[], None]
    clock: Callable[[], float]
    _living: dict[str, Child] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._living)

    def find(self, folder: RunFolder, signs: tuple[int, int]) -> Child | None:
        """The one we have, or one that somebody before us left."""
        known = self._living.get(folder.name)
        if known is not None:
            return known
        grip = try_grip(folder.path)
        if grip is None:
            return None
        log.info("run.adopted", run_id=folder.name, pid=grip.pid)
        return self.take(folder.name, grip, signs)

    def take(self, run: str, grip: Grip, signs: tuple[int, int]) -> Child:
        child = self._living[run] = Child(run, grip, signs, self.clock())
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(grip.pidfd)
            self.wake()

        loop.add_reader(grip.pidfd, ended)
        return child

    def let_go(self, child: Child) -> None:
        with contextlib.suppress(OSError, ValueError):
            asyncio.get_running_loop().remove_reader(child.grip.pidfd)
        child.grip.release()
        self._living.pop(child.run, None)

    def let_all_go(self) -> None:
        for child in list(self._living.values()):
            self.let_go(child)

    def end_strays(self, known: Collection[str], stop_s: float) -> None:
        """Those whose run somebody deleted."""
        for child in [child for run, child in self._living.items() if run not in known]:
            if child.grip.ended() is not None:
                self.let_go(child)
            elif child.asked_at is None:
                child.ask("its run was deleted", self.clock())
            elif self.clock() - child.asked_at > stop_s:
                child.grip.signal(signal.SIGKILL)
