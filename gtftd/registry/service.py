"""The registry as the daemon's reactions use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from gtftd.registry.changes import Changes
from gtftd.registry.decisions import Who
from gtftd.state.database import Database
from gtftd.state.outbox import Outbox, insert_rows

BY = "gtftd"


class Models:
    """Each call is one transaction of the daemon's own database: rows and facts together."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        models_folder: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._folder = models_folder
        self._clock = clock

    async def taint_made_of(self, snapshots: Iterable[str], why: str) -> list[str]:
        """Taint what was trained on these snapshots and what was trained on from there; what serves is rolled back.

        Returns the models; what is tainted already is none of them.
        """
        sources = list(snapshots)

        def work(connection: sqlite3.Connection) -> list[str]:
            changes = Changes(connection, self._folder, Who(BY, self._outbox.clean(why), self._clock()))
            tainted = changes.taint_made_of(sources)
            insert_rows(connection, self._outbox.rows(changes.facts))
            return tainted

        tainted = await self._database.write(work)
        if tainted:
            self._outbox.filled.set()
        return tainted
