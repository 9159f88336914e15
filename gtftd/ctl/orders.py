"""gtftctl pause, resume, drain: commands that change what the daemon does."""

from __future__ import annotations

from typing import Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Target, on_target

Reaction = Annotated[str | None, typer.Argument(metavar="[REACTION]", show_default=False, help="All without a name.")]


def register(app: typer.Typer) -> None:
    for command in (pause, resume, drain):
        app.command()(on_target(command))


def pause(
    target: Target,
    reaction: Reaction = None,
    *,
    reason: Annotated[str, typer.Option("--reason", "-r", help="For those who look later.")] = "",
) -> None:
    """Stop one reaction, or all of them. Facts wait on the bus; the pause survives a restart."""
    result = target.client().call("pause", reaction=reaction, reason=reason)
    show.print_line(f"paused: {show.told(result)}")


def resume(target: Target, reaction: Reaction = None) -> None:
    """End one pause, or all of them."""
    show.print_line(f"resumed: {show.told(target.client().call('resume', reaction=reaction))}")


def drain(
    target: Target,
    *,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, max=3600, help="In seconds.")] = 60.0,
) -> None:
    """Finish what runs, hand everything to the bus, and end the daemon."""
    result = target.client(timeout_s=timeout_s + 15).call("drain", timeout_s=timeout_s)
    show.print_line(f"drained: {show.told(result)}")
