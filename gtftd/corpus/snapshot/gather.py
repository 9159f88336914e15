"""What a snapshot is chosen from: rows of one moment, their contents held by links, and what was measured of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gtftd.corpus.snapshot.cache import FeatureCache, Sketched
from gtftd.corpus.snapshot.evals import EvalIndex
from gtftd.corpus.snapshot.measuring import Bench, Done, Job, run_jobs
from gtftd.corpus.snapshot.objects import Objects
from gtftd.corpus.snapshot.select import (
    Node,
    Row,
    count_entries,
    read_current,
    read_nodes,
    read_retired,
    read_row,
    read_texts,
    select,
)
from gtftd.corpus.snapshot.weights import judge
from gtftd.schemas.settings import SnapshotSettings
from gtftd.schemas.snapshots import Excluded, Selection, Use
from gtftd.state.crash import crash_point

Progress = Callable[[str, int, int], None]
"""Told now and then: the stage, how much of it is done, of how much."""
_TOLD_EVERY = 100
_ROWS_KEPT = 256


@dataclass(frozen=True)
class Taken:
    """One entry whose content is linked; what was measured of it is in `Gathered.measured`."""

    row: Row
    use: Use
    why: str
    texts: Sequence[str] = ()


@dataclass
class Gathered:
    """Everything that the choice depends on."""

    selection: Selection
    index: EvalIndex
    nodes: Sequence[Node]
    retired: Mapping[str, Mapping[str, datetime]]
    taken: list[Taken] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    measured: dict[str, Sketched] = field(default_factory=dict)
    compared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    not_selected: int = 0
    """Entries of other roles and rigs: counted, never named."""


def gather(
    connection: sqlite3.Connection,
    selection: Selection,
    settings: SnapshotSettings,
    index: EvalIndex,
    objects: Objects,
    cache: FeatureCache,
    progress: Progress,
) -> Gathered:
    """Links contents first: whatever the corpus replaces from then on, this build reads what its rows name."""
    connection.execute("BEGIN")
    rows, nodes, retired = select(connection, selection), read_nodes(connection), read_retired(connection)
    texts, current, entries = read_texts(connection), read_current(connection), count_entries(connection)
    connection.execute("COMMIT")
    found = Gathered(selection, index, nodes, retired, not_selected=entries - len(rows))
    for place, row in enumerate(rows):
        _take(connection, row, texts.get(row.entry_id, ()), settings, objects, found)
        if place % _TOLD_EVERY == 0:
            progress("link", place, len(rows))
    objects.sync()
    crash_point("snapshot.linked")
    _measure(found, settings, objects, cache, progress)
    cache.forget(cache.known() - current)
    return found


def _take(
    connection: sqlite3.Connection,
    row: Row,
    texts: Sequence[str],
    settings: SnapshotSettings,
    objects: Objects,
    found: Gathered,
) -> None:
    """Link one entry, or say why not. A content that was replaced meanwhile is looked up again."""
    while True:
        judgement = judge(row, settings)
        if judgement.use is None:
            found.excluded.append(exclude(row, judgement.reason, judgement.why))
            return
        if objects.link_content(row.sha256) and all(map(objects.link_text, texts)):
            found.taken.append(Taken(row, judgement.use, judgement.why, tuple(sorted(texts))))
            return
        now = read_row(connection, row.entry_id)
        if now is None:
            return  # withdrawn: the corpus holds it no more
        if now.sha256 == row.sha256:
            found.excluded.append(exclude(row, "unreadable", "its content, or a text that it refers to, is gone"))
            return
        row, texts = now, read_texts(connection, row.entry_id).get(row.entry_id, ())


def exclude(row: Row, reason: str, why: str) -> Excluded:
    return Excluded.model_validate({"entry_id": row.entry_id, "sha256": row.sha256, "reason": reason, "why": why})


def _measure(
    found: Gathered, settings: SnapshotSettings, objects: Objects, cache: FeatureCache, progress: Progress
) -> None:
    """Read what the cache does not know, and drop what cannot be read."""
    jobs = _jobs(found, cache)
    problems: dict[str, str] = {}
    rows: list[tuple[str, str, bytes, bytes]] = []
    compared: dict[str, tuple[str, ...]] = {}
    done = 0

    def flush() -> None:
        cache.write(rows)
        cache.write_compared(found.index.digest, compared)
        rows.clear()
        compared.clear()

    def take(result: Done) -> None:
        nonlocal done
        done += 1
        if result.problem:
            problems[result.job.sha256] = result.problem
        elif result.row is not None:
            rows.append(result.row)
        if result.job.compare and not result.problem:
            compared[result.job.sha256] = result.items
        if len(rows) + len(compared) >= _ROWS_KEPT:
            flush()
        if done % _TOLD_EVERY == 0:
            progress("read", done, len(jobs))

    bench = Bench(objects.folder, found.index, settings.window_tokens)
    run_jobs(jobs, bench, settings.workers, take)
    flush()
    crash_point("snapshot.measured")
    found.measured = cache.read({taken.row.sha256 for taken in found.taken})
    found.compared = cache.compared(found.index.digest)
    _drop_unreadable(found, problems)


def _jobs(found: Gathered, cache: FeatureCache) -> list[Job]:
    known, compared = cache.known(), cache.compared(found.index.digest)
    must = bool(found.index.items)
    jobs = []
    for digest in dict.fromkeys(taken.row.sha256 for taken in found.taken):
        job = Job(digest, measure=digest not in known, compare=must and digest not in compared)
        if job.measure or job.compare:
            jobs.append(job)
    texts = dict.fromkeys(text for taken in found.taken for text in taken.texts) if must else {}
    return [*(Job(text, is_text=True, compare=True) for text in texts if text not in compared), *jobs]


def _drop_unreadable(found: Gathered, problems: Mapping[str, str]) -> None:
    def problem(taken: Taken) -> str:
        return next((problems[digest] for digest in (taken.row.sha256, *taken.texts) if digest in problems), "")

    bad: Iterable[Taken] = [taken for taken in found.taken if problem(taken) or taken.row.sha256 not in found.measured]
    for taken in bad:
        found.excluded.append(exclude(taken.row, "unreadable", problem(taken) or "its content cannot be read"))
    gone = {taken.row.entry_id for taken in bad}
    found.taken = [taken for taken in found.taken if taken.row.entry_id not in gone]
