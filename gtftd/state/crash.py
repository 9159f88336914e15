"""Named points at which a kill test ends the process; a function that does nothing otherwise."""

from __future__ import annotations

import os
import signal

_at = os.environ.get("GTFTD_CRASH_AT", "")
_name, _, _count = _at.partition(":")
_left = int(_count or 1)


def crash_point(name: str) -> None:
    """SIGKILL ourselves when `GTFTD_CRASH_AT=name[:n]` named this point at start, the n-th time we pass."""
    global _left  # noqa: PLW0603  # one process, one countdown
    if name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
