"""gtftctl corpus: what is kept of the town, where it came from, and what may be learned from it."""

from __future__ import annotations

import typer

from gtftd.ctl.corpus_counts import stats
from gtftd.ctl.corpus_listing import list_entries, show_entry
from gtftd.ctl.target import on_target

app = typer.Typer(
    help="The corpus: what we have, where each line came from, and why it is in or out.", no_args_is_help=True
)
_LOOK = "Look (no daemon needed)"

app.command("stats", rich_help_panel=_LOOK)(on_target(stats))
app.command("list", rich_help_panel=_LOOK)(on_target(list_entries))
app.command("show", rich_help_panel=_LOOK)(on_target(show_entry))
