"""Which rows of a snapshot a run learns from: those of its role, and of its task the turns alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gtftd.corpus.snapshot.folder import open_snapshot
from gtftd.schemas.training import RunSpec

Row = Mapping[str, object]


def chosen_rows(spec: RunSpec, rows: Iterator[Row]) -> Iterator[Row]:
    """Of the role, where a snapshot holds several; of a task what was done of it, in the work of its role or of all.

    An entry has a task, and so may each turn of it: a patrol of the deacon's holds turns of git work. What weighs
    nothing is left out: a step of nothing else would tell a loss of 0.
    """
    role = spec.role if spec.kind == "role" else spec.stacked_on
    task = spec.role if spec.kind == "task" else None
    items = open_snapshot(Path(spec.state_dir), spec.snapshot, for_training=True).items()
    known = {item.entry_id: (item.role, item.task) for item in items}
    for row in rows:
        its_role, its_task = known.get(_entry(row), (None, None))
        if not row["weight"] or (role is not None and its_role != role):
            continue
        if task is None or its_task == task:
            yield row
        elif "messages" in row and (of_task := _of_task(row, task)) is not None:
            yield of_task


def _of_task(row: Row, task: str) -> Row | None:
    """The same with only the turns learned that are of the task; None without any."""
    messages = row["messages"]
    assert isinstance(messages, Sequence)
    turns = [turn if turn.get("task") == task else {**turn, "train": False} for turn in messages]
    return {**row, "messages": turns} if any(turn["train"] for turn in turns) else None


def _entry(row: Row) -> str:
    if "entry_id" in row:
        return str(row["entry_id"])
    entries = row["entries"]
    assert isinstance(entries, Sequence)
    return str(entries[0])
