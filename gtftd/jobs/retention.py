"""What ended runs leave on the disk: what came of them for a while, what was written of them for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

from gtftd.jobs.rundir import RunFolder, all_runs
from gtftd.state.files import fsync_folder

NEEDED_TO_GO_ON = ("checkpoints", "cache")
MADE = ("adapter", "export")


def free_ended_runs(state_dir: Path, keep: int) -> None:
    """An ended run needs no checkpoints; beyond the `keep` newest, no adapter and exports either: registered models
    have theirs in the registry. Its records and its curve stay. Killed anywhere, the next call does the rest.
    """
    ended = [(settled.at, folder) for folder in all_runs(state_dir) if (settled := folder.settled()) is not None]
    ended.sort(key=lambda one: (one[0], one[1].name), reverse=True)
    for number, (_, folder) in enumerate(ended):
        _free(folder, NEEDED_TO_GO_ON if number < keep else NEEDED_TO_GO_ON + MADE)


def _free(folder: RunFolder, names: tuple[str, ...]) -> None:
    """Each goes whole: renamed first, so that nobody finds half of it under its name."""
    for name in NEEDED_TO_GO_ON + MADE:
        path, going = folder.path / name, folder.path / f".going-{name}"
        shutil.rmtree(going, ignore_errors=True)
        if name in names and path.is_dir() and not path.is_symlink():
            path.rename(going)
            fsync_folder(folder.path)
            shutil.rmtree(going, ignore_errors=True)
