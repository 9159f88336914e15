"""gtftctl corpus audit, purge: take out of stored text what must not be in it."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.corpus_listing import EntryId, find_row, subject
from gtftd.ctl.target import Json, Target
from gtftd.errors import Refused

if TYPE_CHECKING:
    from gtftd.ctl.corpus_progress import Step
    from gtftd.schemas.corpus_orders import AuditProgress

PURGE_S = 600.0


def audit(
    target: Target,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also what today's rules have seen already.")] = False,
    as_json: Json = False,
) -> None:
    """Scrub stored entries again with the rules of today; exit code 1 when they found something."""
    from gtftd.ctl.corpus_progress import follow
    from gtftd.schemas.corpus_orders import AuditProgress

    items = target.client().stream("corpus.audit", all=all_)
    found = follow((AuditProgress.model_validate(item) for item in items), _step, quiet=as_json)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
    else:
        show.print_line(_told(found) if found.total else f"nothing to do: {_seen(target)}")
    if found.hits:
        raise typer.Exit(1)


def _step(progress: AuditProgress) -> Step:
    from gtftd.ctl.corpus_progress import Step

    return Step("audit", progress.done, progress.total, f"{progress.hits} with findings" if progress.hits else "")


def _seen(target: Target) -> str:
    """Why there was nothing to look at."""
    from gtftd.control.listing import read_entries
    from gtftd.schemas.corpus_views import EntriesParams

    total = read_entries(target.state_dir, EntriesParams(limit=1)).total
    return f"today's rules have seen all {show.count(total, 'entry')}" if total else "there are no entries"


def _told(found: AuditProgress) -> str:
    audited = f"audited {show.count(found.done, 'entry')}"
    if not found.hits:
        return f"{audited}: nothing found"
    told = f"{audited}: {found.hits:,} held what today's rules find; they are stored anew, the old text is gone"
    return f"{told}; {tainted(found.tainted_snapshots)}" if found.tainted_snapshots else told


def purge(
    target: Target,
    entry_id: EntryId,
    *,
    reason: Annotated[str, typer.Option("--reason", "-r", help="For those who look later; it is kept.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove an entry and its text everywhere, for ever, snapshots included; asks on a terminal."""
    from gtftd.schemas.corpus_orders import PurgeResult

    row = find_row(target, entry_id)
    _confirm(f"Purge {row.entry_id} ({show.clean(subject(row))}, {row.role})? It cannot be undone.", yes=yes)
    client = target.client(timeout_s=PURGE_S)
    told = client.call("corpus.purge", entry_id=row.entry_id, reason=reason, by=getpass.getuser())
    if as_json:
        show.print_json(told)
        return
    found = PurgeResult.model_validate(told)
    more = f"; {tainted(found.tainted_snapshots)}" if found.tainted_snapshots else "; no snapshot held it"
    show.print_line(f"purged {found.entry_id}{more}")


def tainted(snapshots: tuple[str, ...]) -> str:
    """`2 snapshots are tainted: 0a1b2c3d4e5f, ...`."""
    is_many = "is" if len(snapshots) == 1 else "are"
    return f"{show.count(len(snapshots), 'snapshot')} {is_many} tainted: {', '.join(name[:12] for name in snapshots)}"


def _confirm(question: str, *, yes: bool) -> None:
    """On a terminal; elsewhere nobody can answer, so that it takes --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Nobody can be asked here; say --yes")
    typer.confirm(question, abort=True)
