"""Long work as supervised child processes with a run directory.

The names are loaded when they are asked for: the launcher of a child needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gtftd.jobs.decide import Verdict
    from gtftd.jobs.listing import read_run, read_runs, unended_runs, wish
    from gtftd.jobs.rundir import RunFolder, runs_folder
    from gtftd.jobs.supervisor import Listener, Supervisor

__all__ = [
    "Listener",
    "RunFolder",
    "Supervisor",
    "Verdict",
    "read_run",
    "read_runs",
    "runs_folder",
    "unended_runs",
    "wish",
]
_WHERE = {
    "Listener": "supervisor", "RunFolder": "rundir", "Supervisor": "supervisor", "Verdict": "decide",
    "read_run": "listing", "read_runs": "listing", "runs_folder": "rundir", "unended_runs": "listing",
    "wish": "listing",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
