"""Tells `bd` of what is open in a state file, in a process to be killed: `... STATE TOWN`, with `bd` on the PATH."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gtftd.health import Health
from gtftd.registry.bead_face import BeadFace
from gtftd.state import Database
from gtftd.town.bd import Bd
from gtftd.town.layout import Town


async def tell(file: Path, town: Path) -> None:
    database = Database.open(file)
    await BeadFace(database, Bd(Town(town)), Health(), lambda: False).apply()
    database.close()


if __name__ == "__main__":
    asyncio.run(tell(Path(sys.argv[1]), Path(sys.argv[2])))
