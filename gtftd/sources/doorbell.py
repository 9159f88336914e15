"""Says at once that a file came into a folder, and costs nothing while none does: the kernel's dnotify.

watchfiles looks every few milliseconds whether something changed, which wakes an idle daemon as often.
Inotify itself would need a library more; dnotify is one call of the standard library, tells less (that
something came, not what), and that is all that a spool wants to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterable, Iterator

_SIGNAL = signal.SIGURG
"""Ignored where nobody handles it: one that is late cannot end the process, as SIGIO would."""
_WHAT = fcntl.DN_CREATE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT


@contextlib.contextmanager
def doorbell(folders: Iterable[str], ring: Callable[[], None]) -> Iterator[bool]:
    """Within, `ring` is called in the loop soon after a file was made in, or moved into, one of `folders`.

    Gives False, and calls nothing, where the kernel or the thread cannot do this. One at a time in a process.
    """
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        try:
            loop.add_signal_handler(_SIGNAL, ring)
            stack.callback(loop.remove_signal_handler, _SIGNAL)
            for folder in folders:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                fcntl.fcntl(descriptor, fcntl.F_SETSIG, _SIGNAL)
                fcntl.fcntl(descriptor, fcntl.F_NOTIFY, _WHAT)
        except (OSError, RuntimeError, ValueError):
            stack.close()
            yield False
            return
        yield True
