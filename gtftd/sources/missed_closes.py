"""Closes that the database knows of and the daemon does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from gtftd.schemas.event import event_id
from gtftd.schemas.town import BeadClosed
from gtftd.sources.bead_changes import seed
from gtftd.state.outbox import Outgoing
from gtftd.town.bead_rows import ClosedBead
from gtftd.town.beads import BeadsReader
from gtftd.town.identity import normal_actor

SLACK_S = 2.0
"""Between two ways to date one close."""


class ClosedBeads(Protocol):
    """What the sweep asks of the beads; both raise Retriable while the server does not answer."""

    async def closed_since(self, database: str, after: datetime) -> Sequence[ClosedBead]: ...

    async def episodes(self, database: str, beads: Sequence[str]) -> Mapping[str, int]:
        """How often each bead has been opened, as far as its history tells."""
        ...


class BeadHistory:
    """ClosedBeads over the town's server; episodes are counted by the poller's own rule."""

    def __init__(self, reader: BeadsReader) -> None:
        self._reader = reader

    async def closed_since(self, database: str, after: datetime) -> Sequence[ClosedBead]:
        return await self._reader.closed_since(database, after)

    async def episodes(self, database: str, beads: Sequence[str]) -> Mapping[str, int]:
        async with self._reader.snapshot(database) as view:
            rows = await view.history(beads)
        return {bead: known.episode for bead, known in seed(database, rows, datetime.now(UTC)).items()}


@dataclass(frozen=True)
class KnownClose:
    """The last close of a bead that is on record."""

    closed_at: float
    episode: int


async def missed_closes(
    source: ClosedBeads, database: str, closed: Sequence[ClosedBead], known: Mapping[str, KnownClose]
) -> list[Outgoing]:
    """Facts for the closes in `closed` that are not on record; ids are those that the poller would use.

    A bead that is on record with an older close may only have been closed twice, which moves its
    `closed_at` and is no new close: it counts when its history tells of a reopening since.
    """
    doubtful = [bead for bead in closed if bead.assignee and not _is_known(bead, known.get(bead.bead))]
    if not doubtful:
        return []
    episodes = await source.episodes(database, [bead.bead for bead in doubtful])
    found = []
    for bead in doubtful:
        recorded = known.get(bead.bead)
        episode = episodes.get(bead.bead, 1 if recorded is None else recorded.episode)
        if recorded is None or episode > recorded.episode:
            found.append(_closed(bead, episode))
    return found


def read_known_closes(connection: sqlite3.Connection, database: str, beads: Sequence[str]) -> dict[str, KnownClose]:
    found: dict[str, KnownClose] = {}
    for start in range(0, len(beads), 500):
        part = beads[start : start + 500]
        marks = ",".join("?" * len(part))
        sql = (
            "SELECT bead, max(closed_at), max(episode) FROM closes "
            f"WHERE database = ? AND bead IN ({marks}) GROUP BY bead"
        )
        for bead, closed_at, episode in connection.execute(sql, (database, *part)):
            found[bead] = KnownClose(float(closed_at), int(episode))
    return found


def _is_known(bead: ClosedBead, known: KnownClose | None) -> bool:
    return known is not None and known.closed_at >= bead.closed_at.timestamp() - SLACK_S


def _closed(bead: ClosedBead, episode: int) -> Outgoing:
    event = BeadClosed(
        at=bead.closed_at,
        seen_by="sweep",
        database=bead.database,
        bead=bead.bead,
        title=bead.title,
        issue_type=bead.issue_type,
        status="closed",
        assignee=normal_actor(bead.assignee),
        episode=episode,
        reason=bead.reason,
    )
    return Outgoing(event_id(BeadClosed.subject, bead.database, bead.bead, episode), event, time=bead.closed_at)
