"""Where a program is that somebody means by its name, and never one of our own that stands before it."""

from __future__ import annotations

import os
from collections.abc import Mapping

STAND_IN = b"#!/bin/sh\n# gtftd:"
"""How a script of ours begins that goes by the name of somebody else's program."""


def find_program(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The first executable of this name on the PATH that is not ours; a path is looked at as it is."""
    folders = [""] if "/" in name else environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        path = os.path.join(folder, name) if folder else name  # noqa: PTH118  # quick, and an empty folder is "here"
        if "/" in path and os.path.isfile(path) and os.access(path, os.X_OK) and not is_stand_in(path):  # noqa: PTH113
            return path
    return None


def is_stand_in(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(len(STAND_IN)) == STAND_IN
    except OSError:
        return False
