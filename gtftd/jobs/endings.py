"""What the end of a child means that left no result. Pure."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from gtftd.machine import signal_name

NO_ROOM = os.EX_CANTCREAT
"""The exit code of a child that could not write what it learned: its last checkpoint stands, and once there is room it
may go on."""
NO_MEMORY = os.EX_OSERR
"""Of a child that had begun, and for which there is too little memory now."""
_UNKNOWN = 0
"""Of a child that others started."""
_WORDS = ("bad_alloc", "Cannot allocate memory", "can't allocate memory", "memory allocation of", "MemoryError")
"""The last ones of libraries that abort when memory is refused to them."""


@dataclass(frozen=True)
class Ending:
    why: str
    is_short: bool = False
    """The machine lacks something: no fault of the run, which waits."""
    wanted_memory: bool = False
    """It was ended for want of memory: it may happen again."""


def read_ending(code: int, *, asked: str, oom_killed: bool, is_full: bool, last_words: str) -> Ending:
    """`code` as of Popen. `asked`: why we ended it, if we did. `oom_killed`: the kernel killed some process meanwhile.
    `is_full`: there is no room in its folder.
    """
    if code == NO_ROOM or is_full:
        return Ending("no room on the disk; it goes on from its last checkpoint when there is", is_short=True)
    if code == NO_MEMORY:
        return Ending("too little memory is free now; it goes on when there is enough", is_short=True)
    if asked:
        return Ending(asked)
    if oom_killed and code in (-signal.SIGKILL, _UNKNOWN):
        return Ending("killed by the kernel, which had no memory left for it", wanted_memory=True)
    how = f"killed by {signal_name(-code)}" if code < 0 else f"ended with status {code}" if code else "left no result"
    if any(word in last_words for word in _WORDS):
        return Ending(f"{how}: memory was refused to it", wanted_memory=True)
    return Ending(how)
