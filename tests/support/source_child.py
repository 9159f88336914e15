"""One source in a process of its own, to be killed: `python -m tests.support.source_child NAME STATE ROOT`.

It takes all there is and exits; `GTFTD_CRASH_AT` names the point at which it is killed instead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from gtftd.schemas.settings import FeedSettings, SpoolSettings, WatchSettings
from gtftd.sources.feed import FeedSource
from gtftd.sources.spool import SpoolSource
from gtftd.sources.surroundings import Surroundings
from gtftd.sources.watch import Watcher
from gtftd.town.spool import Spool
from tests.support.sources import opened

REPOSITORY = Path(__file__).parents[2]


def kill_at(point: str, name: str, state: Path, root: Path) -> bool:
    """Run the source once; true when it passed the point and was killed there."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.source_child", name, str(state), str(root)],
        cwd=REPOSITORY,
        env=os.environ | {"GTFTD_CRASH_AT": point},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


async def _take(name: str, state: Path, around: Surroundings) -> None:
    if name == "feed":
        feed = FeedSource(around, FeedSettings())
        while await feed.step():
            pass
    elif name == "watch":
        watcher = Watcher(around, WatchSettings(debounce_s=0.02))
        for _ in range(4):
            await watcher.step()
            await asyncio.sleep(0.03)
    else:
        await spool_source(around, state).step()


def spool_source(around: Surroundings, state: Path) -> SpoolSource:
    async def never(_: str) -> bool:
        return False

    spool = Spool(state / "spool")
    spool.ensure()
    return SpoolSource(around, SpoolSettings(), spool, on_beads_touched=lambda _: None, may_forget=never)


def main() -> None:
    name, state, root = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with opened(state, root) as around:
        asyncio.run(_take(name, state, around))


if __name__ == "__main__":
    main()
