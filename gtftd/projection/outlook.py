"""How the projection stands: what the server was told, and what waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gtftd.errors import Conflict, GtftdError
from gtftd.projection.address import Address, TablesMissing
from gtftd.projection.journal import Journal
from gtftd.projection.server import connect
from gtftd.state.database import Database

State = Literal["ok", "not created", "missing tables", "other tables", "unreachable"]


@dataclass(frozen=True)
class Outlook:
    """`position`: the last change that the server was told, None before the first round."""

    state: State
    address: str
    writer: str
    detail: str = ""
    position: int | None = None
    last: int = 0
    waiting: int = 0
    is_whole: bool = True
    """False: the next round tells every row once more."""
    others: tuple[str, ...] = ()
    """Other state directories that write into the same tables."""


async def look(address: Address, database: Database) -> Outlook:
    """Asks the server; never raises for what it answers or does not."""
    journal = Journal(database)
    writer, last = await journal.writer(), await journal.last()
    try:
        async with connect(address) as server:
            await server.check_tables()
            positions = await server.positions()
    except GtftdError as error:
        waiting = await journal.waiting()
        return Outlook(_state(error), str(address), writer, str(error), last=last, waiting=waiting)
    position = positions.pop(writer, None)
    return Outlook(
        "ok", str(address), writer, position=position, last=last, waiting=await journal.waiting(position or 0),
        is_whole=position is not None and await journal.is_whole(position), others=tuple(sorted(positions)),
    )  # fmt: skip


def _state(error: GtftdError) -> State:
    if isinstance(error, TablesMissing):
        return "not created" if error.none else "missing tables"
    return "other tables" if isinstance(error, Conflict) else "unreachable"
