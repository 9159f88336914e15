"""The short way into the index: a bead that a hook has just named is read and told at once, before a poll finds it.

It saves waiting and nothing else: what is lost here (too many at once, a database that does not answer, a kill) is told
when the poller brings the same bead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gtftd.errors import NotReady, Unreachable
from gtftd.rag.feed import Feed
from gtftd.rag.sides import Beads

WORKERS = 4
"""So that one bead whose turn is taken does not keep the others waiting."""
MOST = 1_000
"""Waiting at once; more is the poller's."""


class TouchedBeads:
    """Newest first. `beads` is read over a connection of its own: the poller's is taken for long at busy times."""

    def __init__(self, feed: Feed, beads: Beads, database_of: Callable[[str], str | None]) -> None:
        """`database_of` may read files; None for a bead that is not to be told."""
        self._feed = feed
        self._beads = beads
        self._database_of = database_of
        self._queue: asyncio.LifoQueue[str] = asyncio.LifoQueue()
        self._waiting: set[str] = set()

    def touch(self, beads: Iterable[str]) -> None:
        """Never blocks."""
        for bead in beads:
            if bead not in self._waiting and len(self._waiting) < MOST:
                self._waiting.add(bead)
                self._queue.put_nowait(bead)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            bead = await self._queue.get()
            self._waiting.discard(bead)
            database = await asyncio.to_thread(self._database_of, bead)
            if database is None:
                continue
            try:
                await self._feed.bead_touched(database, bead, self._beads)
            except (NotReady, Unreachable):
                continue  # the poller says so where a person looks
