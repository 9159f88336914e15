"""gtftctl corpus list, show: the entries, read from disk; no daemon needs to run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from gtftd.ctl import show
from gtftd.ctl.corpus_names import check_choice, check_rig, check_role, check_rule
from gtftd.ctl.target import Json, Target
from gtftd.errors import Corrupt, Invalid, Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gtftd.schemas.corpus import Entry
    from gtftd.schemas.corpus_views import EntryRow, PurgedEntry

EntryId = Annotated[str, typer.Argument(metavar="ENTRY", help="Its id, or the first letters of it.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)]
_NUMBERS = ("age", "conf", "turns", "redacted", "size")
_SPARED = ("size", "redacted", "session", "conf", "turns", "kind", "task", "age")
"""Columns that a narrow terminal goes without, the first first."""
_WIDE = 100
_ALL = 1_000_000


def list_entries(
    target: Target,
    *,
    kind: Annotated[str | None, typer.Option("--kind", help="session, artifact, prime, operational, ...")] = None,
    role: Annotated[str | None, typer.Option("--role")] = None,
    rig: Annotated[str | None, typer.Option("--rig")] = None,
    bead: Annotated[str | None, typer.Option("--bead")] = None,
    task: Annotated[str | None, typer.Option("--task")] = None,
    label: Annotated[str | None, typer.Option("--label", help="merged, completed, rejected, ...")] = None,
    session: Annotated[str | None, typer.Option("--session", help="The first letters are enough.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="claude-code, codex, dolt, file, ...")] = None,
    rule: Annotated[
        str | None, typer.Option("--violations", metavar="RULE", help="With a turn that broke this convention.")
    ] = None,
    limit: Limit = 20,
    all_: Annotated[bool, typer.Option("--all", help="However many there are.")] = False,
    as_json: Json = False,
) -> None:
    """The newest entries that match all of the options."""
    from gtftd.control.listing import read_entries
    from gtftd.schemas.corpus import EntryKind, Label, Source, Task
    from gtftd.schemas.corpus_views import EntriesParams

    check_choice("--kind", kind, get_args(EntryKind))
    check_choice("--source", source, get_args(Source))
    check_choice("--task", task, get_args(Task))
    check_choice("--label", label, get_args(Label))
    check_role(target, role)
    check_rig(target, rig)
    check_rule(target, rule)
    if session is not None and len(session) < 4:
        raise typer.BadParameter("give at least the first four letters", param_hint="--session")
    chosen = EntriesParams(
        kind=kind, source=source, role=role, rig=rig, bead=bead, task=task, label=label, session=session, rule=rule,
        limit=_ALL if all_ else limit,
    )  # fmt: skip
    found = read_entries(target.state_dir, chosen)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    if found.entries:
        _print_table(found.entries)
    shown = f"the newest {len(found.entries)} of " if 0 < len(found.entries) < found.total else ""
    wanted = chosen.model_dump(exclude={"limit"}, exclude_none=True)
    counted = show.count(found.total, "entry") if found.total or not wanted else "no entry that matches"
    show.print_line(f"{shown}{counted} in {found.folder}")


def show_entry(
    target: Target,
    entry_id: EntryId,
    *,
    full: Annotated[bool, typer.Option("--full", help="Do not shorten; texts that are stored once, too.")] = False,
    as_json: Json = False,
) -> None:
    """One entry: whose work, what became of it and why we believe it, and every message."""
    from gtftd.ctl.page import draw

    row = look_up(target, entry_id, as_json=as_json)
    if row is None:
        return
    entry = read_entry(target, row)
    if as_json and not full:
        show.print_line(_content(Path(row.path)).decode().rstrip("\n"))
        return
    if as_json:
        show.print_line(entry.model_dump_json(exclude_none=True))
        return
    out = show.console()
    for part in draw(entry, Path(row.path), out, full=full):
        out.print(part, soft_wrap=not out.is_terminal)


class WasPurged(Missing):
    """The entry is gone for ever; what is known of that is the answer."""

    def __init__(self, found: PurgedEntry) -> None:
        on = f"{datetime.fromtimestamp(found.at, UTC):%Y-%m-%d %H:%M} UTC"
        super().__init__(f"{found.entry_id} was purged by {found.by} on {on}: {found.reason}")
        self.found = found


def look_up(target: Target, entry_id: str, *, as_json: bool) -> EntryRow | None:
    """As `find_row`; for one that was purged, who did it, when and why is shown, and that is all."""
    try:
        return find_row(target, entry_id)
    except WasPurged as gone:
        if as_json:
            show.print_json({"purged": gone.found.model_dump(mode="json")})
        else:
            show.print_line(show.clean(str(gone)))
        return None


def find_row(target: Target, entry_id: str) -> EntryRow:
    """The one entry whose id begins so. Raises WasPurged."""
    from gtftd.control.listing import read_entries, read_purged
    from gtftd.schemas.corpus_views import EntriesParams

    if len(entry_id) < 4:
        raise typer.BadParameter("give at least the first four letters", param_hint="ENTRY")
    found = read_entries(target.state_dir, EntriesParams(entry_id=entry_id, limit=2))
    if not found.entries and (purged := read_purged(target.state_dir, entry_id)) is not None:
        raise WasPurged(purged)
    if not found.entries:
        raise Missing(f"no entry begins with {entry_id}; see `gtftctl corpus list`")
    if len(found.entries) > 1:
        raise Invalid(f"{found.total} entries begin with {entry_id}; give more letters")
    return found.entries[0]


def read_entry(target: Target, row: EntryRow) -> Entry:
    """Its content, with the texts in place that are stored once for many entries."""
    from gtftd.control.listing import entries_folder
    from gtftd.corpus.texts import whole
    from gtftd.schemas.corpus import Entry
    from gtftd.state.files import content_path

    texts = entries_folder(target.state_dir) / "texts"

    def text_of(sha256: str) -> str:
        return _content(content_path(texts, sha256, suffix=".txt")).decode("utf-8", "replace")

    return whole(Entry.model_validate_json(_content(Path(row.path))), text_of)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Corrupt(f"the entry's file {path} is gone; `gtftctl corpus list` shows what state.db knows") from error


def _print_table(rows: Sequence[EntryRow]) -> None:
    """As many columns as fit; which go first is said by `_SPARED`."""
    from rich.cells import cell_len
    from rich.text import Text

    out = show.console()
    cells = [_cells(row) for row in rows]
    widths = {name: max(len(name), *(cell_len(cell[name]) for cell in cells)) for name in cells[0]}
    gap = 2 if out.width >= _WIDE else 1
    names = list(cells[0])
    for name in _SPARED:
        if sum(widths[name] + gap for name in names) - gap <= out.width:
            break
        names.remove(name)
    if not out.is_terminal:  # rich takes a millisecond and a half for a row
        for line in ({name: name for name in names}, *cells):
            show.print_line((" " * gap).join(_padded(line[name], name, widths[name]) for name in names).rstrip())
        return
    table = show.table(*names, right=_NUMBERS, gap=gap)
    for row, cell in zip(rows, cells, strict=True):
        styles = {"entry": show.CALM, "label": show.OUTCOMES.get(row.outcome, ""), "age": show.DIM}
        table.add_row(*(Text(cell[name], styles.get(name, "")) for name in names))
    out.print(table)


def _padded(text: str, name: str, width: int) -> str:
    from rich.cells import cell_len

    blanks = " " * (width - cell_len(text))
    return blanks + text if name in _NUMBERS else text + blanks


def _cells(row: EntryRow) -> dict[str, str]:
    from gtftd.ctl.page import who

    told = {
        "entry": row.entry_id[:8],
        "age": show.short_age(row.stored_at),
        "kind": row.kind,
        "actor": who(row.actor, row.rig, row.role),
        "about": subject(row),
        "task": row.task,
        "label": row.outcome,
        "conf": f"{row.confidence:.2f}",
        "session": row.session_id[:8] if row.session_id else "-",
        "turns": str(row.trainable),
        "redacted": str(row.redactions),
        "size": show.size(row.size_bytes),
    }
    return {name: show.clean(value) for name, value in told.items()}


def subject(row: EntryRow) -> str:
    """As `about`; an example that was added has no name but what stands in it."""
    from gtftd.ctl.page import about, example_name
    from gtftd.schemas.corpus import Entry

    if row.kind != "curated":
        return about(row)
    try:
        return example_name(Entry.model_validate_json(Path(row.path).read_bytes()))
    except FileNotFoundError:  # superseded meanwhile
        return about(row)
