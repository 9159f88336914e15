"""gtftctl entries: the training entries, read from disk; no daemon needs to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, on_target
from gtftd.errors import Corrupt, Invalid, Missing

if TYPE_CHECKING:
    from rich.text import Text

    from gtftd.schemas.corpus import Entry, Message

app = typer.Typer(help="The training entries: list them, read one.", no_args_is_help=True)
_SHOWN_CHARACTERS = 2000


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
    from rich.text import Text

    from gtftd.control.listing import read_entries
    from gtftd.schemas.control import EntriesParams

    found = read_entries(target.state_dir, EntriesParams(role=role, rig=rig, bead=bead, limit=limit))
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    numbers = ("conf", "messages", "redacted", "size")
    table = show.table("entry", "stored", "role", "rig", "bead", "outcome", *numbers, right=numbers)
    for row in found.entries:
        names = (row.role, row.rig or "-", row.bead or "-", row.outcome)
        counts = (f"{row.confidence:.2f}", str(row.messages), str(row.redactions), show.size(row.size_bytes))
        told = (Text(show.clean(name)) for name in names)
        table.add_row(row.entry_id[:12], show.age(row.stored_at), *told, *counts)
    if found.entries:
        show.console().print(table)
    show.print_line(f"{found.total} entries in {found.folder}")


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
    _print_entry(Entry.model_validate_json(content), path, full=full)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Corrupt(f"the entry's file {path} is gone; `gtftctl entries list` shows what state.db knows") from error


def _print_entry(entry: Entry, path: Path, *, full: bool) -> None:
    from rich.text import Text

    out = show.console()
    outcome = entry.outcome
    out.print(Text(f"{entry.role}  {entry.rig or ''}  {entry.bead or 'no bead'}  {show.clean(entry.title)}", "bold"))
    facts = show.table("", "")
    facts.show_header = False
    redacted = ", ".join(f"{kind} {count}" for kind, count in sorted(entry.redactions.items()))
    for name, value in (
        ("outcome", f"{outcome.label} ({outcome.confidence:.2f})"),
        *(("because", reason) for reason in outcome.evidence),
        ("agent", " ".join(part for part in (entry.actor, entry.agent, entry.model) if part)),
        ("session", f"{entry.session_id} ({entry.source})"),
        ("span", f"{entry.started_at} to {entry.ended_at}; {entry.cut}"),
        ("redacted", redacted or "nothing"),
        ("file", str(path)),
    ):
        facts.add_row(Text(name, style=show.DIM), Text(show.clean(value), overflow="fold"))
    out.print(facts)
    for message in entry.messages:
        out.print()
        for line in _message(message, full=full):
            out.print(line, soft_wrap=True)


def _message(message: Message, *, full: bool) -> list[Text]:
    from rich.text import Text

    style = {"assistant": "bold green", "user": "bold cyan", "tool": "bold yellow"}.get(message.role, "bold")
    kind = "" if message.kind == "turn" else f" ({message.kind})"
    head = Text(f"{message.role}{kind}", style=style)
    if message.is_error:
        head.append("  error", style=show.BAD)
    lines = [head]
    content = message.content
    if not full and len(content) > _SHOWN_CHARACTERS:
        content = f"{content[:_SHOWN_CHARACTERS]} ... {len(content) - _SHOWN_CHARACTERS} more characters, see --full"
    lines += [Text(show.clean(line)) for line in content.splitlines()]
    for call in message.tool_calls:
        arguments = show.clean(str(call.arguments))
        lines.append(Text(f"-> {show.clean(call.name)} {arguments if full else arguments[:300]}", style="magenta"))
    return lines
