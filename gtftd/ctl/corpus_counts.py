"""gtftctl corpus stats: the corpus in numbers, and why closed beads were closed against what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target

if TYPE_CHECKING:
    from rich.table import Table

    from gtftd.schemas.corpus_views import LabelsResult, StatsResult, Sums

DIMENSIONS = ("kind", "role", "rig", "task", "label", "source", "model")
_OVERVIEW = DIMENSIONS[:5]
_SUMS = ("entries", "trainable", "messages", "violations", "redactions", "size")


def stats(
    target: Target,
    *,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="WHAT", help=f"One row for each {', '.join(DIMENSIONS)}; twice for pairs."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Closed beads: why they were closed, and what became of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What we have: entries, turns to train on, labels, redactions, violations, doubts, snapshots."""
    if unknown := [name for name in by or () if name not in DIMENSIONS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(DIMENSIONS)}", param_hint="--by")
    if labels:
        _show_labels(target, as_json=as_json)
        return
    from gtftd.ctl.corpus_sums import read_stats

    found = read_stats(target.state_dir, tuple(by) if by else None)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
    elif by:
        _show_groups(found)
    else:
        _show_overview(found)


def _show_overview(found: StatsResult) -> None:
    from gtftd.ctl.page import counts

    total = found.total
    turns = f"{total.trainable:,} to train on, of {show.count(total.messages, 'message')}"
    facts = [("entries", f"{total.entries:,}, {show.size(total.size_bytes)} in {found.folder}"), ("turns", turns)]
    facts += [(name, counts({value: sums.entries for value, sums in found.by[name].items()})) for name in _OVERVIEW]
    facts += [
        ("not learned", counts(found.masked)),
        ("violations", counts(found.violations)),
        ("failures", counts(found.failures)),
        ("redacted", counts(found.redactions)),
        ("doubts", f"{found.doubts} open; `gtftctl corpus review` shows them" if found.doubts else "none open"),
        ("snapshots", _snapshots(found.snapshots)),
    ]
    _print_facts(facts)


def _snapshots(ids: tuple[str, ...]) -> str:
    return f"{len(ids)}, the newest {ids[0][:12]}" if ids else "none; `gtftctl corpus snapshot` builds one"


def _print_facts(facts: Iterable[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=show.DIM, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, Text(show.clean(value)))
    out = show.console()
    out.print(grid, soft_wrap=not out.is_terminal)


def _show_groups(found: StatsResult) -> None:
    from rich.text import Text

    for name, groups in found.by.items():
        heads = name.split(" ")
        table = show.table(*heads, *_SUMS, right=_SUMS)
        for value, sums in groups.items():
            parts = value.split("\x1f")
            table.add_row(*(Text(show.clean(part)) for part in parts), *_numbers(sums))
        if groups:
            show.console().print(table)
    show.print_line(f"{show.count(found.total.entries, 'entry')} in {found.folder}")


def _numbers(sums: Sums) -> tuple[str, ...]:
    counted = (sums.entries, sums.trainable, sums.messages, sums.violations, sums.redactions)
    return (*(f"{number:,}" for number in counted), show.size(sums.size_bytes))


def _show_labels(target: Target, *, as_json: bool) -> None:
    from gtftd.ctl.corpus_sums import read_labels

    found = read_labels(target.state_dir)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    if found.counts:
        show.console().print(_labels_table(found))
    for note in found.notes:
        show.print_line(note)
    without = f"; {found.unlabelled} without an entry, so without a label" if found.unlabelled else ""
    show.print_line(f"{show.count(found.closed, 'closed bead')}{without}")


def _labels_table(found: LabelsResult) -> Table:
    labels = sorted({label for told in found.counts.values() for label in told})
    table = show.table("reason", *labels, "all", right=(*labels, "all"))
    for reason, told in sorted(found.counts.items(), key=lambda item: (-sum(item[1].values()), item[0])):
        table.add_row(reason, *_cells(told, labels))
    table.add_row("all", *_cells(_sum(found.counts.values()), labels), style="bold")
    return table


def _cells(told: Mapping[str, int], labels: list[str]) -> list[str]:
    return [*(f"{told[label]:,}" if told.get(label) else "-" for label in labels), f"{sum(told.values()):,}"]


def _sum(rows: Iterable[Mapping[str, int]]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for row in rows:
        for label, count in row.items():
            summed[label] = summed.get(label, 0) + count
    return summed
