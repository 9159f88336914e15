"""How far a long order has come: a bar on a terminal, plain lines elsewhere, a sum at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import typer

from gtftd.ctl import INTERRUPTED, show

LINE_EVERY_S = 5.0
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What a bar shows of one step; `total` is None while nobody knows."""

    name: str
    done: int
    total: int | None
    note: str = ""


def follow(items: Iterable[T], step_of: Callable[[T], Step], *, quiet: bool = False) -> T:
    """Show every item until the last, and return it. Ctrl-C ends the order: what was done stays, exit code 130."""
    last: T | None = None
    try:
        with shown(quiet=quiet) as draw:
            for item in items:
                last = item
                draw(step_of(item))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was done stays, and the same command goes on from there\n")
        raise typer.Exit(INTERRUPTED) from None
    assert last is not None, "an order tells at least that it has finished"
    return last


@contextmanager
def shown(*, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """What draws a step: as a bar, as a line now and then, or not at all."""
    if quiet:
        yield lambda _: None
    elif sys.stdout.isatty():
        with _bar() as draw:
            yield draw
    else:
        yield _Lines()


@contextmanager
def _bar() -> Iterator[Callable[[Step], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style=show.DIM, markup=False),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("starting", total=None, note="")

        def draw(step: Step) -> None:
            note = show.clean(step.note)
            progress.update(task, description=step.name, completed=step.done, total=step.total, note=note)

        yield draw


class _Lines:
    """The first step and then one every few seconds; the sum at the end is said by the command."""

    def __init__(self) -> None:
        self._name = ""
        self._said_at = 0.0

    def __call__(self, step: Step) -> None:
        if not step.total and not step.done:
            return  # it has not begun, and may yet be refused
        now = time.monotonic()
        if step.name == self._name and now - self._said_at < LINE_EVERY_S:
            return
        self._name, self._said_at = step.name, now
        of = "" if step.total is None else f" of {step.total:,}"
        show.print_line(f"{step.name}: {step.done:,}{of}")
        sys.stdout.flush()
