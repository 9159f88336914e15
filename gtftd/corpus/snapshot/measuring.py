"""Reads new contents, in several processes where there are many, and keeps what was measured."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from gtftd.corpus.snapshot.decontaminate import items_in_entry, items_in_text
from gtftd.corpus.snapshot.evals import EvalIndex
from gtftd.corpus.snapshot.features import encode, measure
from gtftd.corpus.snapshot.objects import read_entry, read_text
from gtftd.corpus.snapshot.utterances import utterances_of
from gtftd.errors import GtftdError

CHUNK = 24
ALONE = 120
"""So few contents are read here: processes take longer to start."""
_PR_SET_PDEATHSIG = 1
_MAX_TEXTS = 256


@dataclass(frozen=True)
class Job:
    """What is still to be known of one content, or of one text."""

    sha256: str
    is_text: bool = False
    measure: bool = False
    compare: bool = False


@dataclass(frozen=True)
class Done:
    """What a job found; `problem` when the content cannot be read."""

    job: Job
    row: tuple[str, str, bytes, bytes] | None = None
    """(sha256, features, sketch, phrases), as the cache keeps them."""
    items: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Bench:
    """What every job needs."""

    objects: Path
    index: EvalIndex
    window_tokens: int


def run_jobs(jobs: Sequence[Job], bench: Bench, workers: int, done: Callable[[Done], None]) -> None:
    """Each result goes to `done` in this process, in any order; at most a few chunks are in memory."""
    workers = workers or os.cpu_count() or 1
    if len(jobs) <= ALONE or workers == 1:
        for job in jobs:
            done(_perform(job, bench))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(bench, os.getpid())) as pool:
        chunks = _chunks(jobs)
        running: set[Future[list[Done]]] = {pool.submit(_perform_all, c) for c in islice(chunks, workers * 2)}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    for result in future.result():
                        done(result)
                running |= {pool.submit(_perform_all, chunk) for chunk in islice(chunks, len(finished))}
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _chunks(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    iterator = iter(jobs)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


_bench: Bench | None = None


def _begin(bench: Bench, parent: int) -> None:
    """In each process: it ends with the builder, also when that is killed; Ctrl-C is the builder's to handle."""
    global _bench  # noqa: PLW0603  # one process, one bench
    _bench = bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _perform_all(jobs: Sequence[Job]) -> list[Done]:
    assert _bench is not None
    return [_perform(job, _bench) for job in jobs]


def _perform(job: Job, bench: Bench) -> Done:
    try:
        return _text(job, bench) if job.is_text else _content(job, bench)
    except (GtftdError, ValueError, RecursionError) as error:
        return Done(job, problem=f"{type(error).__name__}: its content cannot be read")


def _text(job: Job, bench: Bench) -> Done:
    return Done(job, items=items_in_text(read_text(bench.objects, job.sha256), bench.index))


def _content(job: Job, bench: Bench) -> Done:
    entry = read_entry(bench.objects, job.sha256)
    utterances = utterances_of(entry)
    row = None
    if job.measure:
        measured = measure(entry, utterances, lambda sha256: _read_text(bench.objects, sha256), bench.window_tokens)
        row = (job.sha256, encode(measured.features), measured.sketch, measured.phrases)
    return Done(job, row, items_in_entry(entry.title, utterances, bench.index) if job.compare else ())


@lru_cache(maxsize=_MAX_TEXTS)
def _read_text(objects: Path, sha256: str) -> str:
    return read_text(objects, sha256)
