"""gtftctl records create, status, sync, verify: the records in the town's Dolt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, locate_town, on_target

if TYPE_CHECKING:
    from gtftd.projection import Address, Compared, Outlook, Synced
    from gtftd.schemas.settings import SettingsModel
    from gtftd.state.database import Database
    from gtftd.town.layout import Town

T = TypeVar("T")
app = typer.Typer(
    help="Models, training jobs, preferences and entries, mirrored into the town's Dolt.", no_args_is_help=True
)


@app.command("create")
@on_target
def create(
    target: Target,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the statements and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make the tables in the town's database; those that are there stay. From then on every change is mirrored."""
    from gtftd.projection import STEPS

    statements = [statement for _, step in STEPS for statement in step.values()]
    if dry_run:
        if as_json:
            show.print_json({"statements": statements})
            return
        for statement in statements:
            show.print_line(f"{statement};\n")
        return
    with _opened(target) as place:
        made = _run(_create(place))
        if as_json:
            show.print_json({"address": str(place.address), "created": made})
            return
        told = f"made {', '.join(made)}" if made else "every table is there already"
        show.print_line(f"{show.clean(str(place.address))}: {told}")
        if not place.settings.projection.enabled:
            show.print_line("projection.enabled is false: nothing is mirrored until it is true")
        elif made:
            show.print_line("the daemon fills them by itself; `gtftctl records sync` does it now")


@app.command("status")
@on_target
def status(target: Target, *, as_json: Json = False) -> None:
    """How far the town's tables are; exit code 1 when they cannot be written."""
    from gtftd.projection import look

    with _opened(target) as place:
        found = _run(look(place.address, place.database))
        is_enabled = place.settings.projection.enabled
    if as_json:
        show.print_json({"enabled": is_enabled, **asdict(found)})
    else:
        for line in _status(found, is_enabled=is_enabled):
            show.print_line(line)
    if found.state not in {"ok", "not created"}:
        raise typer.Exit(1)


@app.command("sync")
@on_target
def sync(
    target: Target,
    *,
    anew: Annotated[
        bool, typer.Option("--anew", help="Tell every row once more, and remove from the town what is not here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell the town what waits, now. The daemon does the same by itself."""
    from gtftd.projection import Projector

    with _opened(target) as place:
        done = _run(Projector(place.settings, lambda: place.town, place.database).sync(anew=anew))
        if as_json:
            show.print_json({"address": str(place.address), **asdict(done)})
            return
        show.print_line(_synced(done, str(place.address)))


@app.command("verify")
@on_target
def verify(target: Target, *, as_json: Json = False) -> None:
    """Compare both sides, row by row; exit code 1 when they differ by more than what still waits."""
    with _opened(target) as place:
        tables = _run(_compare(place))
    is_same = all(table.is_same for table in tables)
    if as_json:
        show.print_json({"same": is_same, "tables": [asdict(table) for table in tables]})
    else:
        _print_compared(tables)
    if not is_same:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Place:
    settings: SettingsModel
    town: Town
    address: Address
    database: Database


@contextlib.contextmanager
def _opened(target: Target) -> Iterator[_Place]:
    """The state and the address of the town's server. Raises Missing where there is no state."""
    from gtftd.errors import Missing
    from gtftd.projection import find_address
    from gtftd.settings import load_settings
    from gtftd.state.database import Database
    from gtftd.town.layout import load_town

    settings = load_settings(target.config)
    town = load_town(locate_town(target.town, target.config))
    file = target.state_dir / "state.db"
    if not file.is_file():
        raise Missing(f"there is no {file}: gtftd never ran for this town; name another with --state-dir")
    address = find_address(settings, town)
    database = Database.open(file)
    try:
        yield _Place(settings, town, address, database)
    finally:
        database.close()


def _run(work: Coroutine[Any, Any, T]) -> T:
    from gtftd import logs

    logs.configure("error", console=False)  # what went wrong is said by the error itself
    return asyncio.run(work)


async def _create(place: _Place) -> list[str]:
    from gtftd.projection import connect

    async with connect(place.address) as server, server.turn():
        return await server.create()


async def _compare(place: _Place) -> list[Compared]:
    from gtftd.projection import Comparison, connect

    async with connect(place.address) as server:
        await server.check_tables()
        return await Comparison(place.database, server).run()


def _status(found: Outlook, *, is_enabled: bool) -> Iterator[str]:
    yield f"town       {show.clean(found.address)}"
    yield f"mirror     {found.state}" + (f": {show.clean(found.detail)}" if found.detail else "")
    if not is_enabled:
        yield "switched   off by projection.enabled"
    if found.state == "ok":
        yield f"told       {'nothing yet' if found.position is None else f'up to {found.position:,} of {found.last:,}'}"
    if found.state == "ok" and not found.is_whole:
        yield "waiting    everything: the next round tells every row once more"
    else:
        yield f"waiting    {show.count(found.waiting, 'change')}"
    if found.others:
        yield f"also       written by {', '.join(map(show.clean, found.others))}"


def _synced(done: Synced, address: str) -> str:
    if not done.applied and not done.refilled:
        return f"{show.clean(address)}: nothing waited"
    commits = f", {show.count(done.commits, 'commit')} of Dolt" if done.is_dolt else ", no Dolt: no commits"
    again = "everything anew, " if done.refilled else ""
    return f"{show.clean(address)}: {again}{show.count(done.applied, 'change')}{commits}"


def _print_compared(tables: list[Compared]) -> None:
    headings = ("here", "there", "waiting", "not there", "not here", "different")
    table = show.table("table", *headings, right=headings)
    for one in tables:
        counts = (one.here, one.there, one.waiting, one.missing_there.rows, one.missing_here.rows, one.different.rows)
        table.add_row(one.table, *(f"{count:,}" for count in counts))
    show.console().print(table)
    for one in tables:
        for what, difference in (
            ("not there", one.missing_there), ("not here", one.missing_here), ("different", one.different),
        ):  # fmt: skip
            for key in difference.keys:
                show.print_line(f"{one.table} {what}: {show.clean(key)}")
    if not all(one.is_same for one in tables):
        show.print_line("`gtftctl records sync --anew` tells every row once more and removes what is not here")
