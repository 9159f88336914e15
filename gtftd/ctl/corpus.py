"""gtftctl corpus: what is kept of the town, where it came from, and what may be learned from it."""

from __future__ import annotations

from collections.abc import Callable

import typer

from gtftd.ctl import corpus_review
from gtftd.ctl.corpus_collecting import add, artifacts, collect, interactions, operational, prime, sweep
from gtftd.ctl.corpus_counts import stats
from gtftd.ctl.corpus_explain import explain
from gtftd.ctl.corpus_listing import list_entries, show_entry
from gtftd.ctl.corpus_security import audit, purge
from gtftd.ctl.corpus_snapshots import diff, export, snapshot, snapshots, verify
from gtftd.ctl.target import on_target

app = typer.Typer(
    help="The corpus: what we have, where each line came from, and why it is in or out.", no_args_is_help=True
)
_PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Look": {"stats": stats, "list": list_entries, "show": show_entry, "explain": explain},
    "Collect (by the daemon)": {
        "collect": collect,
        "artifacts": artifacts,
        "operational": operational,
        "interactions": interactions,
        "prime": prime,
        "sweep": sweep,
        "add": add,
    },
    "Keep safe (by the daemon)": {"audit": audit, "purge": purge},
    "Snapshots, what a training run reads": {
        "snapshot": snapshot,
        "snapshots": snapshots,
        "diff": diff,
        "verify": verify,
        "export": export,
    },
}
for panel, commands in _PANELS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(on_target(command))
app.add_typer(corpus_review.app, name="review", rich_help_panel="Keep safe (by the daemon)")
