"""gtftctl rag search, explain, status, rebuild: what the town says now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from gtftd.ctl import show
from gtftd.ctl.corpus_names import check_choice, check_rig
from gtftd.ctl.target import Json, Target, on_target

if TYPE_CHECKING:
    from gtftd.schemas.rag import Hit, RagStatus, SearchResult

app = typer.Typer(
    help="The index of what the town says now: search it, look at it, build it anew.", no_args_is_help=True
)
_SHOWN_CHARS = 240
Words = Annotated[list[str], typer.Argument(metavar="WORDS...", help="What is looked for: words, or the id of a bead.")]
Rig = Annotated[
    str | None, typer.Option("--rig", help="As an agent of this rig sees it (default: $GT_RIG, else all rigs).")
]
Collections = Annotated[
    list[str] | None, typer.Option("--in", metavar="COLLECTION", help="Only beads, configs, sessions, formulas, docs.")
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Most hits.")]


@app.command("search")
@on_target
def search(
    target: Target,
    words: Words,
    *,
    rig: Rig = None,
    collections: Collections = None,
    limit: Limit = 5,
    as_json: Json = False,
) -> None:
    """Find what beads, instructions, sessions, formulas and docs say."""
    found = _search(target, words, rig, collections, limit)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    for number, hit in enumerate(found.hits, start=1):
        show.print_line(f"{number}. {_name(hit)}")
        show.print_line(f"   {_excerpt(hit.text)}")
    _conclude(found)


@app.command("explain")
@on_target
def explain(
    target: Target,
    words: Words,
    *,
    rig: Rig = None,
    collections: Collections = None,
    limit: Limit = 10,
    as_json: Json = False,
) -> None:
    """The same search, and why each hit stands where it stands."""
    found = _search(target, words, rig, collections, limit, explain=True)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    table = show.table(
        "#",
        "score",
        "words",
        "rank",
        "meaning",
        "rank",
        "named",
        "age",
        "what",
        right=("#", "score", "rank"),
        folded=("what",),
    )
    for number, hit in enumerate(found.hits, start=1):
        scores = hit.scores
        table.add_row(
            str(number), f"{hit.score:.3f}",
            _number(scores.lexical, 1), str(scores.lexical_rank or "-"),
            _number(scores.dense, 3), str(scores.dense_rank or "-"),
            "yes" if scores.exact else "", show.short_age(hit.updated_at.timestamp()), _name(hit),
        )  # fmt: skip
    show.console().print(table)
    took = ", ".join(f"{name} {show.milliseconds(ms)}" for name, ms in found.took_ms.items())
    show.print_line(f"{found.searched:,} chunks could be seen; {took}")
    _conclude(found)


@app.command("status")
@on_target
def status(target: Target, *, as_json: Json = False) -> None:
    """How much is indexed, by which model, and what waits. Exit code 1 when the index does not answer."""
    from gtftd.schemas.rag import RagStatus

    found = RagStatus.model_validate(target.client().call("rag.status"))
    if as_json:
        show.print_json(found.model_dump(mode="json"))
    else:
        for line in _status(found):
            show.print_line(line)
        if found.index is not None:
            table = show.table(
                "collection", "documents", "chunks", "vectors", "newest", right=("documents", "chunks", "vectors")
            )
            for one in found.index.collections:
                newest = show.short_age(one.newest.timestamp()) if one.newest else "-"
                table.add_row(one.name, f"{one.documents:,}", f"{one.chunks:,}", f"{one.vectors:,}", newest)
            show.console().print(table)
    if found.state not in {"ready", "off"}:
        raise typer.Exit(1)


@app.command("rebuild")
@on_target
def rebuild(
    target: Target,
    *,
    anew: Annotated[bool, typer.Option("--anew", help="Forget everything first, vectors too.")] = False,
    as_json: Json = False,
) -> None:
    """Feed everything to the index again, out of the corpus and the town's beads; what is the same stays."""
    from gtftd.ctl.corpus_progress import Step, follow
    from gtftd.schemas.corpus_orders import CollectProgress

    items = (CollectProgress.model_validate(item) for item in target.client().stream("rag.rebuild", anew=anew))
    last = follow(items, lambda step: Step(step.phase, step.done, step.total, step.note), quiet=as_json)
    if as_json:
        show.print_json(last.model_dump(mode="json"))
        return
    show.print_line(f"{last.done:,} entries and beads were fed; `gtftctl rag status` shows what waits for a vector")
    if last.note:
        show.print_line(f"not all could be read: {show.clean(last.note)}")


def _search(
    target: Target,
    words: list[str],
    rig: str | None,
    collections: list[str] | None,
    limit: int,
    *,
    explain: bool = False,
) -> SearchResult:
    from gtftd.schemas.rag import Collection, SearchResult

    for name in collections or ():
        check_choice("--in", name, get_args(Collection))
    check_rig(target, rig)
    rig = rig or os.environ.get("GT_RIG") or None
    text = " ".join(words).strip()
    if not text:
        raise typer.BadParameter("give at least one word to look for")
    chosen = {"rig": rig, "everything": rig is None, "collections": collections or []}
    answer = target.client().call("rag.search", text=text[:8192], limit=limit, explain=explain, **chosen)
    return SearchResult.model_validate(answer)


def _name(hit: Hit) -> str:
    whose = f", {hit.rig}" if hit.rig else ""
    heading = f" > {hit.heading}" if hit.heading and hit.heading not in hit.title else ""
    return show.clean(f"{hit.title or hit.document}{heading}  ({hit.collection}{whose})")


def _excerpt(text: str) -> str:
    line = show.clean(" ".join(text.split()))
    return line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"


def _conclude(found: SearchResult) -> None:
    if not found.hits:
        show.print_line("nothing found")
    if not found.dense:
        show.print_line("by words alone: the embedding model is not there yet, see `gtftctl rag status`")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _status(found: RagStatus) -> Iterator[str]:
    state = found.state + (f": {found.detail}" if found.detail else "")
    yield f"index      {show.clean(state)}"
    if (index := found.index) is not None:
        yield f"model      {index.model or 'not loaded yet'}" + (
            f", {index.dimensions} dimensions" if index.dimensions else ""
        )
        yield f"waiting    {show.count(index.waiting, 'chunk')} for a vector (found by words meanwhile)"
        yield f"process    pid {index.pid}, {show.size(index.rss_bytes)} of memory, {show.size(index.bytes)} on disk"
        for what in index.healed:
            yield f"healed     {show.clean(what)}"
    if found.feeding is not None:
        yield f"feeding    {found.feeding.done:,} {found.feeding.phase} so far"
    elif found.behind:
        yield "feeding    behind; everything is fed again"
