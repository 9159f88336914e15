"""What the shell completes, and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
import typer

from gtftd.errors import GtftdError
from gtftd.town.identity import ROLES

STATUSES = (
    "registered", "gated", "held", "canary", "active", "degraded", "archived", "flagged", "tainted",
)  # fmt: skip


def complete_model(ctx: click.Context, incomplete: str) -> list[str]:
    """Names of models; nothing where there is no registry, or anything else is wrong."""
    from gtftd.ctl.locating import resolve
    from gtftd.ctl.model_quick import opened

    given = [ctx.params.get(name) for name in ("town", "state_dir", "config")]
    try:
        target = resolve(*(Path(value) if value else None for value in given))
        with opened(target.state_dir / "state.db") as connection:
            rows = connection.execute("SELECT name FROM models ORDER BY name")
            return [row[0] for row in rows if row[0].startswith(incomplete)]
    except GtftdError:
        return []


def complete_role(incomplete: str) -> list[str]:
    return [role for role in ROLES if role.startswith(incomplete)]


def complete_status(incomplete: str) -> list[str]:
    return [status for status in STATUSES if status.startswith(incomplete)]


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="mayor-v3, or by a name: mayor@active.", autocompletion=complete_model)
]
RoleOption = Annotated[str | None, typer.Option("--role", autocompletion=complete_role)]
Rig = Annotated[str | None, typer.Option("--rig", help="In this rig alone; else in the whole town.")]
Why = Annotated[str, typer.Option("--why", "-w", help="For those who look later; it is kept.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
