"""gtftctl corpus review: what was redacted although nobody is sure. It only ever restores; nothing waits for it."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, on_target

if TYPE_CHECKING:
    from gtftd.schemas.corpus_orders import Looked

Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="Its first letters are enough, four at least.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000)]
RESTORE_S = 3600.0
_HELP = {"-h", "--help"}


class _ListByDefault(TyperGroup):
    """`review` without a word more is `review list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_bare = not args or (args[0].startswith("-") and args[0] not in _HELP)
        return super().parse_args(ctx, ["list", *args] if is_bare else args)


app = typer.Typer(
    help="Values that were redacted although nobody is sure: list them, look at one, restore it or keep it redacted.",
    cls=_ListByDefault,
)


@app.command("list")
@on_target
def list_doubts(target: Target, *, limit: Limit = 50, as_json: Json = False) -> None:
    """Open doubts, those that stand in the most entries first; never a value. `review` alone does the same."""
    from gtftd.control.listing import reading
    from gtftd.corpus.review import open_doubts
    from gtftd.schemas.corpus_orders import DoubtsResult

    with reading(target.state_dir) as connection:
        doubts = open_doubts(connection, limit)
    if as_json:
        show.print_json(DoubtsResult(doubts=tuple(doubts)).model_dump(mode="json"))
        return
    from rich.text import Text

    names = ("digest", "placeholder", "kind", "rule", "entries", "newest", "since")
    table = show.table(*names, right=("entries",), folded=("placeholder", "kind", "rule"))
    for row in doubts:
        cells = (row.digest[:12], row.placeholder, row.kind, row.rule, str(row.entries), row.entry_id[:8])
        table.add_row(*(Text(show.clean(cell)) for cell in cells), show.age(row.raised_at))
    if doubts:
        show.console().print(table)
    more = "; there may be more, see --limit" if len(doubts) == limit else ""
    show.print_line(f"{show.count(len(doubts), 'open doubt')}{more}" if doubts else "no open doubts")


@app.command("show")
@on_target
def show_doubt(
    target: Target,
    digest: Digest,
    *,
    as_json: Json = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="The value also in a pipe and in JSON.")] = False,
) -> None:
    """The value and the line that it stands in, while its source still exists; on this terminal alone."""
    from gtftd.schemas.corpus_orders import Looked

    _check(digest)
    told = target.client(timeout_s=120).call("corpus.look", digest=digest)
    if as_json:
        show.print_json(told if reveal else {key: value for key, value in told.items() if key != "value"})
        return
    looked = Looked.model_validate(told)
    doubt = looked.doubt
    for name, value in (
        ("value", _value(looked, reveal=reveal)),
        ("in", looked.context),
        ("stands for", doubt.placeholder),
        ("digest", doubt.digest),
        ("why", f"{doubt.kind}, by the rule {doubt.rule}"),
        ("entries", f"{doubt.entries}, the newest {doubt.entry_id[:8]}"),
        ("since", show.age(doubt.raised_at)),
    ):
        if value:
            show.print_line(f"{name:10}  {show.clean(value)}")
    begin = doubt.digest[:12]
    show.print_line(f"\n`gtftctl corpus review restore {begin}` lets it pass, `review keep {begin}` ends the question")


@app.command("restore")
@on_target
def restore(target: Target, digest: Digest) -> None:
    """The value is harmless: let it pass from now on, and make the entries that it stands in anew."""
    _check(digest)
    client = target.client(timeout_s=RESTORE_S)
    show.print_line(show.told(client.call("corpus.restore", digest=digest, by=getpass.getuser())))


@app.command("keep")
@on_target
def keep(target: Target, digest: Digest) -> None:
    """The value was rightly redacted: ask no more."""
    _check(digest)
    show.print_line(show.told(target.client().call("corpus.keep", digest=digest, by=getpass.getuser())))


def _value(looked: Looked, *, reveal: bool) -> str:
    """What does not go to a terminal may stay in a file."""
    if looked.value is not None:
        return looked.value if reveal or sys.stdout.isatty() else "not shown: this is no terminal, see --reveal"
    return f"unknown: {_why_unknown(looked.kind, looked.origin)}"


def _why_unknown(kind: str, origin: str) -> str:
    """Only transcripts and files of the town are read again."""
    scheme, _, name = origin.partition(":")
    if not scheme:
        return "its newest entry is gone; collect again"
    if kind == "session":
        return "the transcript is gone, or says it no more"
    document = f"its source is a document, {name or origin}"
    if scheme == "file":
        return f"{document}; that is gone from the town, or says it no more"
    if kind == "curated":
        return "its source is an example that was added; look for it in the file that you gave"
    if kind in {"operational", "interactions"}:
        return f"its source is a document, the bead {name}; look there (`bd show {name.rpartition('/')[2]}`)"
    return f"{document}; look there"


def _check(digest: str) -> None:
    if len(digest) < 4:
        raise typer.BadParameter("give at least the first four letters", param_hint="DIGEST")
