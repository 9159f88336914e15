"""gtftctl hooks: put the hooks into a town, take them out, check them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, on_target

if TYPE_CHECKING:
    from gtftd.town.layout import Town

app = typer.Typer(help="The hooks by which the town's facts arrive.", no_args_is_help=True)


@dataclass(frozen=True)
class _Line:
    """One place that was looked at."""

    path: str
    what: str
    ok: bool
    detail: str


@app.command("install")
@on_target
def install(target: Target, *, as_json: Json = False) -> None:
    """Add the hooks to Claude Code's user settings and to the beads of every rig, beside what is there."""
    from gtftd.town import hooks

    changes = hooks.install(_load(target), target.state_dir)
    _report([_Line(str(one.path), one.what, one.ok, one.detail) for one in changes], as_json=as_json)


@app.command("uninstall")
@on_target
def uninstall(target: Target, *, as_json: Json = False) -> None:
    """Take out what install put in, and nothing else."""
    from gtftd.town import hooks

    changes = hooks.uninstall(_load(target), target.state_dir)
    _report([_Line(str(one.path), one.what, one.ok, one.detail) for one in changes], as_json=as_json)


@app.command("verify")
@on_target
def verify(target: Target, *, as_json: Json = False) -> None:
    """Check every hook. Exit code 1 when one is missing or broken."""
    from gtftd.town import hooks

    found = hooks.verify(_load(target), target.state_dir)
    _report([_Line(str(one.path), one.what, one.ok, one.detail) for one in found], as_json=as_json)


def _load(target: Target) -> Town:
    """The town, with the Claude configuration of a sample town in place of this user's own."""
    from gtftd.ctl.sample import enter_sample
    from gtftd.town.layout import load_town

    root = target.known_town()
    enter_sample(root)
    return load_town(root)


def _report(lines: Sequence[_Line], *, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.text import Text

    if as_json:
        show.print_json([asdict(line) for line in lines])
    else:
        table = show.table("", "what", "where", "detail")
        for line in lines:
            mark = Text("ok", style=show.GOOD) if line.ok else Text("no", style=show.BAD)
            table.add_row(mark, line.what, _short(line.path), Text(show.clean(line.detail)))
        show.console().print(table)
    if not all(line.ok for line in lines):
        raise typer.Exit(1)


def _short(path: str) -> str:
    home = str(Path.home())
    return "~" + path.removeprefix(home) if path.startswith(home + "/") else path
