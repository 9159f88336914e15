"""One round of the projection in a process of its own, to be killed:
`python -m tests.support.dolt_child STATE PORT`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from gtftd import logs
from gtftd.projection import Projector
from gtftd.schemas.settings import ProjectionSettings, SettingsModel
from gtftd.state.database import Database
from gtftd.town.layout import Town

REPOSITORY = Path(__file__).parents[2]
BATCH = 7


def killed_at(point: str, state: Path, port: int) -> bool:
    """Run one round; true when it passed the point and was killed there."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.dolt_child", str(state), str(port)],
        cwd=REPOSITORY,
        env=os.environ | {"GTFTD_CRASH_AT": point},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


async def _sync(state: Path, port: int) -> None:
    logs.configure("error", console=False)
    settings = SettingsModel(projection=ProjectionSettings(port=port, batch_rows=BATCH))
    database = Database.open(state / "state.db")
    await Projector(settings, lambda: Town(state.parent / "town"), database).sync()
    database.close()


if __name__ == "__main__":
    asyncio.run(_sync(Path(sys.argv[1]), int(sys.argv[2])))
