"""gtftctl town: a sample town, and a day in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gtftd.ctl import show
from gtftd.errors import Refused

app = typer.Typer(help="Sample towns, to try gtftd without a town of your own.", no_args_is_help=True)
Dir = Annotated[Path, typer.Argument(metavar="DIR")]


@app.command("sample")
def sample(folder: Dir) -> None:
    """Make a sample town in DIR, in the shape of a real one."""
    from gtftd.sampletown import make_town

    make_town(folder)
    show.print_line(f"a sample town is in {folder}; `gtftctl run --town {folder}` shows it live")


@app.command("play")
def play(
    folder: Dir,
    speed: Annotated[float, typer.Option("--speed", min=1, help="Its seconds in one of ours.")] = 600.0,
    loop: Annotated[bool, typer.Option("--loop", help="Day after day, until Ctrl-C.")] = False,
) -> None:
    """Live a day of the sample town in DIR."""
    import os

    from gtftd.ctl.sample import enter_sample

    if not enter_sample(folder.absolute()):
        raise Refused(f"{folder} is no sample town; make one with `gtftctl town sample DIR`")
    command = [sys.executable, "-P", "-m", "gtftd.programs.player", str(folder), "--speed", str(speed)]
    os.execv(sys.executable, [*command, *(["--loop"] if loop else [])])
