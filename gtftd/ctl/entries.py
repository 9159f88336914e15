"""gtftctl entries: the training entries, read from disk; no daemon needs to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import Corrupt, Invalid, Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from gtftd.schemas.control import EntryRow

app = typer.Typer(help="The training entries: list them, read one.", no_args_is_help=True)
_NUMBERS = ("age", "conf", "messages", "redacted", "size")
_SPARED = ("size", "redacted", "messages", "conf", "session", "age")
"""Columns that a narrow terminal goes without, the first first."""
_WIDE = 100


@app.command("list")
@on_target
def list_entries(
    target: Target,
    *,
    role: Annotated[str | None, typer.Option("--role")] = None,
    rig: Annotated[str | None, typer.Option("--rig")] = None,
    bead: Annotated[str | None, typer.Option("--bead")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 20,
    as_json: Json = False,
) -> None:
    """The newest entries."""
    from gtftd.control.listing import read_entries
    from gtftd.schemas.control import EntriesParams

    found = read_entries(target.state_dir, EntriesParams(role=role, rig=rig, bead=bead, limit=limit))
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    out = show.console()
    if found.entries:
        out.print(_table(found.entries, out.width))
    shown = f"the newest {len(found.entries)} of " if 0 < len(found.entries) < found.total else ""
    show.print_line(f"{shown}{found.total} entries in {found.folder}")


def _table(rows: Sequence[EntryRow], width: int) -> Table:
    """As many columns as fit; which go first is said by `_SPARED`."""
    from rich.text import Text

    cells = [_cells(row) for row in rows]
    widths = {name: max(len(name), *(Text(cell[name]).cell_len for cell in cells)) for name in cells[0]}
    gap = 2 if width >= _WIDE else 1
    names = list(cells[0])
    for name in _SPARED:
        if sum(widths[name] + gap for name in names) - gap <= width:
            break
        names.remove(name)
    table = show.table(*names, right=_NUMBERS, gap=gap)
    for row, cell in zip(rows, cells, strict=True):
        styles = {"entry": show.CALM, "outcome": show.OUTCOMES.get(row.outcome, ""), "age": show.DIM}
        table.add_row(*(Text(cell[name], styles.get(name, "")) for name in names))
    return table


def _cells(row: EntryRow) -> dict[str, str]:
    from gtftd.ctl.page import which, who

    told = {
        "entry": row.entry_id[:8],
        "age": show.short_age(row.stored_at),
        "actor": who(row.actor, row.rig, row.role),
        "bead": which(row.bead, row.episode),
        "outcome": row.outcome,
        "conf": f"{row.confidence:.2f}",
        "session": row.session_id[:8],
        "messages": str(row.messages),
        "redacted": str(row.redactions),
        "size": show.size(row.size_bytes),
    }
    return {name: show.clean(value) for name, value in told.items()}


@app.command("show")
@on_target
def show_entry(
    target: Target,
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="Or its first letters.")],
    *,
    full: Annotated[bool, typer.Option("--full", help="Do not shorten long messages.")] = False,
    as_json: Json = False,
) -> None:
    """One entry: whose work, what became of it and why we believe it, and every message."""
    from gtftd.control.listing import read_entries
    from gtftd.ctl.page import draw
    from gtftd.schemas.control import EntriesParams
    from gtftd.schemas.corpus import Entry

    if len(entry_id) < 4:
        raise typer.BadParameter("give at least the first four letters", param_hint="ID")
    found = read_entries(target.state_dir, EntriesParams(entry_id=entry_id, limit=2))
    if not found.entries:
        raise Missing(f"no entry begins with {entry_id}; see `gtftctl entries list`")
    if len(found.entries) > 1:
        raise Invalid(f"{found.total} entries begin with {entry_id}; give more letters")
    path = Path(found.entries[0].path)
    content = _content(path)
    if as_json:
        show.print_line(content.decode())
        return
    out = show.console()
    for part in draw(Entry.model_validate_json(content), path, out, full=full):
        out.print(part, soft_wrap=not out.is_terminal)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Corrupt(f"the entry's file {path} is gone; `gtftctl entries list` shows what state.db knows") from error
