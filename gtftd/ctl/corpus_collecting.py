"""gtftctl corpus collect, artifacts, operational, interactions, prime, sweep, add: tell the daemon to collect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from gtftd.control.wire import JsonObject
from gtftd.ctl import show
from gtftd.ctl.corpus_names import check_agents, check_audience, check_choice, check_rig
from gtftd.ctl.target import Json, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gtftd.ctl.corpus_progress import Step
    from gtftd.schemas.corpus_orders import CollectProgress

_SHOWN_ENTRIES = 10
Rig = Annotated[str | None, typer.Option("--rig", help="The rig that it belongs to.")]


def collect(
    target: Target,
    *,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="One; its first letters do.")] = None,
    bead: Annotated[str | None, typer.Option("--bead", metavar="ID", help="Everybody who worked on it.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every session on record.")] = False,
    as_json: Json = False,
) -> None:
    """Make the entries of sessions anew from their transcripts, by the rules of today."""
    if [session is not None, bead is not None, all_].count(True) != 1:
        raise typer.BadParameter("give one of --session ID, --bead ID, --all")
    _order(target, "corpus.collect", as_json=as_json, session_id=session, bead=bead, all=all_)


def artifacts(
    target: Target,
    *,
    folder: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", exists=True, file_okay=False, help="Files there, not the town's."),
    ] = None,
    rig: Rig = None,
    as_json: Json = False,
) -> None:
    """Collect what tells agents how to behave: CLAUDE.md, AGENTS.md, formulas, directives, specs, plans, docs."""
    check_rig(target, rig)
    _order(target, "corpus.artifacts", as_json=as_json, folder=_absolute(folder), rig=rig)


def operational(
    target: Target,
    *,
    export: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", exists=True, help="An export of the databases.")
    ] = None,
    databases: Annotated[
        list[str] | None, typer.Option("--database", metavar="DB", help="Only this; may be repeated.")
    ] = None,
    rig: Rig = None,
    as_json: Json = False,
) -> None:
    """Collect the lives of beads, slings, merge requests, convoys and patrols out of the town's databases."""
    check_rig(target, rig)
    _order(target, "corpus.operational", as_json=as_json, export=_absolute(export), databases=databases or [], rig=rig)


def interactions(target: Target, *, as_json: Json = False) -> None:
    """Collect .beads/interactions.jsonl of the town and its rigs."""
    _order(target, "corpus.interactions", as_json=as_json)


def prime(
    target: Target,
    *,
    roles: Annotated[list[str] | None, typer.Option("--role", help="Only this; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Collect what `gt prime` prints for each role."""
    check_agents("--role", roles or [])
    _order(target, "corpus.prime", as_json=as_json, roles=roles or [])


def sweep(target: Target, *, as_json: Json = False) -> None:
    """Look now for transcripts and closes that nobody told of; their entries follow by themselves."""
    found = _follow(target, "corpus.sweep", quiet=as_json)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
    elif found.stored:
        show.print_line(f"{show.count(found.stored, 'new fact')}; entries follow, `gtftctl watch` shows them come")
    else:
        show.print_line("nothing was missed")


def add(
    target: Target,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, readable=True)],
    *,
    role: Annotated[str, typer.Option("--role", help="Whose example it is.")],
    task: Annotated[str | None, typer.Option("--task", help="What it is an example of, as code-review.")] = None,
    rig: Rig = None,
    as_json: Json = False,
) -> None:
    """Add curated examples: chat messages, one JSON object a line, or text."""
    from gtftd.schemas.corpus import Task

    check_choice("--task", task, get_args(Task))
    check_audience("--role", [role])
    check_rig(target, rig)
    paths = [_absolute(file) for file in files]
    _order(target, "corpus.add", as_json=as_json, paths=paths, role=role, task=task, rig=rig)


def _order(target: Target, verb: str, *, as_json: bool, **params: object) -> None:
    found = _follow(target, verb, quiet=as_json, **params)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    told = ", ".join(f"{getattr(found, name):,} {name}" for name in ("stored", "unchanged", "skipped", "withdrawn"))
    show.print_line(f"{found.phase}: {found.done:,} done: {told}")
    if found.entries:
        show.print_line(_named(found.entries))
    if found.note:
        show.print_line(show.clean(found.note))


def _named(entries: Sequence[str]) -> str:
    """`entry 03bcd20d`, `entries 03bcd20d, 1f00a1b2`; the first ones of many."""
    shown = ", ".join(entry_id[:8] for entry_id in entries[:_SHOWN_ENTRIES])
    more = len(entries) > _SHOWN_ENTRIES
    name = "entry" if len(entries) == 1 else "entries"
    return f"{name} {shown}{', ...; `gtftctl corpus list --kind curated` shows them' if more else ''}"


def _follow(target: Target, verb: str, *, quiet: bool, **params: object) -> CollectProgress:
    from gtftd.ctl.corpus_progress import follow

    items = target.client().stream(verb, **params)
    return follow(_told(items), _step, quiet=quiet)


def _told(items: Iterator[JsonObject]) -> Iterator[CollectProgress]:
    from gtftd.schemas.corpus_orders import CollectProgress

    return (CollectProgress.model_validate(item) for item in items)


def _step(progress: CollectProgress) -> Step:
    from gtftd.ctl.corpus_progress import Step

    return Step(progress.phase, progress.done, progress.total, progress.note)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().absolute())
