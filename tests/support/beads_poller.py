"""A beads poller with a state file of its own, what it told, and what it should have told."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtftd.health import Health
from gtftd.metrics import Metrics
from gtftd.schemas.settings import BeadsSettings
from gtftd.sources.beads import BeadsPoller
from gtftd.state.database import Database
from gtftd.state.outbox import Outbox
from gtftd.town.layout import Rig, Town


@dataclass
class Place:
    """A state file, and pollers on it one after another as after restarts."""

    root: Path
    settings: BeadsSettings
    database: Database
    health: Health = field(default_factory=Health)
    pollers: list[BeadsPoller] = field(default_factory=list)
    rigs: tuple[Rig, ...] = ()

    def poller(self, outbox: Outbox | None = None) -> BeadsPoller:
        made = BeadsPoller(
            lambda: Town(self.root, self.rigs, prefixes={rig.prefix: rig.name for rig in self.rigs}),
            self.settings,
            outbox or Outbox(self.database, prefix="gtftd", source="test"),
            self.database,
            self.health,
            Metrics(),
        )
        self.pollers.append(made)
        return made

    async def facts(self) -> list[dict[str, Any]]:
        """Everything told so far, in order: the envelope's data with id and subject."""
        sql = "SELECT id, subject, body FROM outbox ORDER BY seq"
        rows = await self.database.read(lambda connection: connection.execute(sql).fetchall())
        return [
            {"id": id_, "subject": subject.removeprefix("gtftd.town."), **json.loads(body)["data"]}
            for id_, subject, body in rows
        ]

    async def told(self, *subjects: str) -> list[dict[str, Any]]:
        return [fact for fact in await self.facts() if fact["subject"] in subjects]

    def condition(self, component: str) -> str:
        return next((one.name for one in self.health.board() if one.component == component), "absent")

    async def close(self) -> None:
        for poller in self.pollers:
            await poller.reader.close()
        self.database.close()


def make_place(folder: Path, port: int, *databases: str, **settings: Any) -> Place:
    folder.mkdir(parents=True, exist_ok=True)
    chosen = BeadsSettings(port=port, databases=databases, **{"poll_s": 0.05, "timeout_s": 5, **settings})
    return Place(folder, chosen, Database.open(folder / "state.db"))


def replay(rows: Sequence[dict[str, Any]]) -> Counter[str]:
    """What the rows say, read straight through by their ids: closes, reopenings, second closes.

    A row may find a bead open that was closed (somebody reopened it by plain SQL), and `created` may come
    again for a closed bead (gt makes the beads of its agents anew).
    """
    counts: Counter[str] = Counter()
    state: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        bead = row["issue_id"]
        old, new = _status(row["old_value"]), _status(row["new_value"])
        before = state.get(bead, old or "open")
        if old is not None and (old == "closed") != (before == "closed"):
            counts["closed" if old == "closed" else "reopened"] += 1
            before = old
        after = {"closed": "closed", "created": "open"}.get(row["event_type"]) or new or old or before
        if after == "closed" and row["event_type"] == "closed":
            counts["again" if before == "closed" else "closed"] += 1
        elif before == "closed" and after != "closed":
            counts["reopened"] += 1
        state[bead] = after
    return counts


def _status(value: str | None) -> str | None:
    if not value or not value.startswith("{"):
        return None
    try:
        return json.loads(value).get("status")
    except ValueError:
        return None


async def counted(place: Place) -> Counter[str]:
    counts: Counter[str] = Counter()
    for fact in await place.told("bead.closed", "bead.reopened", "bead.updated"):
        kind = fact["subject"].removeprefix("bead.")
        if kind != "updated":
            counts[kind] += 1
        elif fact["changes"] == ["close_reason"]:
            counts["again"] += 1
    return counts


def cursors(place: Place) -> set[str]:
    with sqlite3.connect(place.database.path) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM cursors")}
    connection.close()
    return found


async def until(claim: Any) -> None:
    async with asyncio.timeout(30):
        while not claim():
            await asyncio.sleep(0.01)


async def until_told(place: Place, closes: int) -> None:
    async with asyncio.timeout(30):
        while len(await place.told("bead.closed")) < closes:
            await asyncio.sleep(0.005)
