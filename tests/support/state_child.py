"""Writes to a state file in a process of its own, to be killed: `python -m tests.support.state_child FILE`.

It claims, finishes and puts one after the other; `GTFTD_CRASH_AT` names the commit at which it is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from gtftd.state import Database, Ledger
from gtftd.state.ledger import Claim, Done

REPOSITORY = Path(__file__).parents[2]
CLAIM = Claim("note", "gt-1", "event-1")
ROW = ("fact-1", "gtftd.fact.x", b"{}")


def killed_at(point: str, file: Path) -> bool:
    """Run the writer once; true when it passed the point and was killed there."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.state_child", str(file)],
        cwd=REPOSITORY,
        env=os.environ | {"GTFTD_CRASH_AT": point},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


async def write(file: Path) -> None:
    """Two transactions: the claim, then what was done with its fact."""
    database = Database.open(file)
    ledger = Ledger(database, "boot-of-the-child")
    await ledger.begin([CLAIM])
    await ledger.commit([Done(CLAIM, [ROW])])
    database.close()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
