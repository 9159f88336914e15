"""Wakes a source when something changes in its folders; a source must also look by itself now and then."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import awatch

from gtftd.logs import get_logger
from gtftd.sources.doorbell import doorbell

log = get_logger("sources")
RETRY_S = 30.0
"""How long to do without notifications after they failed, for example at the inotify limit."""


class Waker:
    """Watches folders themselves, never what is below them. `step_ms` is the price of an early wake-up.

    A step costs some 25 to 40 microseconds whether or not something changed: 10 ms is up to 0.4 % of a core.
    `for_new_files`: only those matter, so that a doorbell, where there is one, spares the steps; one such a process.
    """

    def __init__(
        self, source: str, *, step_ms: int, cares: Callable[[str], bool] | None = None, for_new_files: bool = False
    ) -> None:
        self._source = source
        self._step_ms = step_ms
        self._cares = cares
        self._for_new_files = for_new_files
        self._folders: tuple[tuple[str, int], ...] = ()
        self._replaced = asyncio.Event()
        self._woken = asyncio.Event()

    def watch(self, folders: Iterable[Path]) -> None:
        """Watch these from now on, as far as they exist. A folder made anew under its name is noticed here."""
        found = tuple(sorted({entry for folder in folders if (entry := _identity(folder)) is not None}))
        if found != self._folders:
            self._folders = found
            self._replaced.set()

    def wake(self) -> None:
        self._woken.set()

    async def wait(self, longest_s: float) -> None:
        """Until something changed since the last call, or the time is up."""
        try:
            async with asyncio.timeout(longest_s):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def run(self) -> None:
        while True:
            self._replaced.clear()
            folders = [name for name, _ in self._folders]
            if not folders:
                await self._replaced.wait()
            elif not self._for_new_files or not await self._listen(folders):
                await self._notify(folders)

    async def _listen(self, folders: list[str]) -> bool:
        """Until the folders are replaced; False, and at once, where there are no doorbells."""
        with doorbell(folders, self._woken.set) as rings:
            if rings:
                self._woken.set()  # what came before the bell hung is looked at now
                await self._replaced.wait()
            return rings

    async def _notify(self, folders: list[str]) -> None:
        # Runs as soon as this task waits inside awatch: what changed before the watch stood is looked at then.
        asyncio.get_running_loop().call_soon(self._woken.set)
        try:
            async for _ in awatch(
                *folders,
                watch_filter=self._filter,
                debounce=self._step_ms * 4,
                step=self._step_ms,
                stop_event=self._replaced,
                recursive=False,
                ignore_permission_denied=True,
            ):
                self._woken.set()
        except (OSError, RuntimeError, ExceptionGroup) as error:  # watchfiles raises each of them
            log.warning("notifications.failed", source=self._source, folders=len(folders), error=str(error))
            await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(RETRY_S):
                await self._replaced.wait()
        except TimeoutError:
            pass

    def _filter(self, _change: object, path: str) -> bool:
        return self._cares is None or self._cares(os.path.basename(path))  # noqa: PTH119  # hot: each append


def _identity(folder: Path) -> tuple[str, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return (str(folder), status.st_ino) if stat.S_ISDIR(status.st_mode) else None
