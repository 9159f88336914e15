"""gtftctl parked: what failed for good, until somebody retries or drops it."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, on_target

app = typer.Typer(help="What failed for good: look, retry, drop.", no_args_is_help=True)
Reaction = Annotated[str | None, typer.Option("--reaction", help="Only this reaction's.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command("list")
@on_target
def list_parked(
    target: Target,
    *,
    reaction: Reaction = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """The parked reactions, oldest first."""
    result = target.client().call("parked.list", reaction=reaction, limit=limit)
    if as_json:
        show.print_json(result)
        return
    from rich.text import Text

    from gtftd.schemas.control import ParkedListResult

    parked = ParkedListResult.model_validate(result)
    table = show.table("id", "reaction", "key", "attempts", "parked", "error", right=("id", "attempts"))
    for row in parked.parked:
        told = (Text(show.clean(text)) for text in (row.reaction, row.key))
        since = show.age(row.parked_at)
        table.add_row(str(row.id), *told, str(row.attempts), since, Text(show.clean(row.error)))
    if parked.parked:
        show.console().print(table)
    show.print_line(
        f"{parked.total} parked; `gtftctl parked show ID` tells why" if parked.total else "nothing is parked"
    )


@app.command("show")
@on_target
def show_parked(target: Target, id: Annotated[int, typer.Argument()], *, as_json: Json = False) -> None:
    """One parked reaction: its error, its traceback, its message."""
    result = target.client().call("parked.show", id=id)
    if as_json:
        show.print_json(result)
        return
    from gtftd.schemas.control import ParkedShowResult

    row = ParkedShowResult.model_validate(result)
    for name, value in (("reaction", row.reaction), ("key", row.key), ("subject", row.subject), ("error", row.error)):
        show.print_line(f"{name:9} {show.clean(value)}")
    show.print_line(f"{'attempts':9} {row.attempts}, parked {show.age(row.parked_at)}")
    for name, text in (("traceback", row.traceback), ("message", _message(row.event, row.body, row.body_bytes))):
        if text:
            show.print_line(f"\n{name}:\n{text}")


@app.command("retry")
@on_target
def retry(target: Target, ids: Ids = None, *, all_: All = False, reaction: Reaction = None) -> None:
    """Try again, with fresh attempts."""
    _need_choice(ids, all_)
    result = target.client().call("parked.retry", ids=ids or [], all=all_, reaction=reaction)
    show.print_line(f"retrying: {show.told(result)}")


@app.command("drop")
@on_target
def drop(
    target: Target,
    ids: Ids = None,
    *,
    all_: All = False,
    reaction: Reaction = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="For the log.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give up for good; asks on a terminal."""
    _need_choice(ids, all_)
    if not yes and sys.stdin.isatty():
        what = "everything that is parked" if all_ else f"parked {', '.join(map(str, ids or []))}"
        typer.confirm(f"Drop {what}? It cannot be undone.", abort=True)
    result = target.client().call("parked.drop", ids=ids or [], all=all_, reaction=reaction, reason=reason)
    show.print_line(f"dropped: {show.told(result)}")


def _need_choice(ids: list[int] | None, all_: bool) -> None:
    if bool(ids) == all_:
        raise typer.BadParameter("name some IDs, or --all, not both")


def _message(event: dict[str, object] | None, body: str, body_bytes: int) -> str:
    if event is not None:
        return json.dumps(event, indent=2, ensure_ascii=True)
    return f"{show.clean(body)}\n({body_bytes} bytes that are no event)" if body_bytes else ""
