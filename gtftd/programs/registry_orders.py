"""What a command that changed the registry tells the daemon, and what the daemon asks of the registry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from gtftd.control.server import ControlServer
from gtftd.schemas.protocol import Answer, NoParams
from gtftd.state import Database


class RegistryOrders:
    """The records were changed by another process, in the same state."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def register(self, server: ControlServer) -> None:
        server.verb("registry.changed", NoParams, self.changed)

    async def changed(self, _: NoParams) -> Answer:
        self._changed()
        return Answer()


class TrainedAt:
    """When the model was trained that serves a role: in the rig, else in the whole town."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, role: str, rig: str | None) -> datetime | None:
        """None where none of ours serves."""
        sql = """SELECT m.trained_at FROM model_aliases a JOIN models m ON m.name = a.model
                 WHERE a.series = ? AND a.alias = 'active' AND a.rig IN (?, '') ORDER BY a.rig DESC LIMIT 1"""
        row = await self._database.read(lambda connection: connection.execute(sql, (role, rig or "")).fetchone())
        return datetime.fromtimestamp(row[0], UTC) if row else None
