"""The thread that embeds what has no vector yet, the newest first, and keeps Chroma in step with memory."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gtftd.errors import GtftdError
from gtftd.logs import get_logger
from gtftd.rag.matrix import Floats, Matrix, Row
from gtftd.rag.texts import Texts
from gtftd.rag.vectors import Broken, Model, Vectors
from gtftd.schemas.rag import COLLECTIONS, Collection
from gtftd.state.crash import crash_point

if TYPE_CHECKING:
    from gtftd.rag.embedding import Embedder

log = get_logger("rag")
NICE = 10
SMALLEST, LARGEST = 8, 256
"""Chunks that are embedded in one go: what is put meanwhile waits for no more than this."""
QUICK_S, SLOW_S = 0.05, 0.4
PERSIST_AT = 256
CHECK_S = 2.0
QUIET_S = 10.0
"""Vectors without chunks harm nobody: they are deleted when there are many, or nothing else is to be done."""
FORGET_S = 3.0
"""What is to be forgotten comes in bursts: Chroma is written anew once after each."""
_FORGET = "chroma.forget"
AGAIN_S = 10.0
"""After Chroma could not be made anew (a full disk)."""


class EmbeddingQueue:
    """Memory is what is true: `changed` names chunks, and Chroma gets or loses what memory has or has not."""

    def __init__(
        self,
        folder: Path,
        factory: Callable[[], Embedder],
        texts: Texts,
        matrix: Matrix,
        lock: threading.Lock,
        *,
        adopt: bool = False,
    ) -> None:
        """`lock` guards `matrix`. With `adopt`, vectors of unknown chunks are kept for those that will come."""
        self.embedder: Embedder | None = None
        """None until it is loaded; for good when `failed` says why."""
        self.failed = ""
        self.healed: list[str] = []
        self._folder = folder
        self._factory = factory
        self._texts = texts
        self._matrix = matrix
        self._lock = lock
        self._adopt = adopt
        self._spare: dict[str, Floats] = {}
        self._persisted = 0.0
        self._wake = threading.Condition()
        self._waiting: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._changed: dict[str, Collection] = {}
        self._gone: dict[str, Collection] = {}
        """Of no hurry: a start deletes vectors without chunks too."""
        self._remake = False
        self._forget_at = math.inf
        self._busy = True
        self._stop = False
        self._batch = SMALLEST
        self._thread = threading.Thread(target=self._run, name="gtftd-embed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What was embedded is kept; what waits is found again by the next start."""
        with self._wake:
            self._stop = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def add(self, rows: Iterable[Row]) -> None:
        """These have no vector yet."""
        with self._wake:
            for row in rows:
                heapq.heappush(self._waiting, (-row.updated_at.timestamp(), -next(self._order), row.id))
            self._wake.notify_all()

    def removed(self, chunks: Iterable[tuple[str, Collection]]) -> None:
        """These are gone."""
        with self._wake:
            self._gone.update(chunks)

    def will_forget(self) -> None:
        """Something is about to be forgotten: Chroma's files are written anew, since they keep what was deleted."""
        with self._wake:
            (self._folder.parent / _FORGET).touch()
            self._forget_at = time.monotonic() + FORGET_S

    def begin_anew(self, texts: Texts, spare: dict[str, Floats]) -> None:
        """Memory is empty. `spare`: vectors of chunks that may come again."""
        with self._wake:
            self._texts = texts
            self._waiting.clear()
            self._spare = dict(spare)
            self._remake = True
            self._wake.notify_all()

    def wait_idle(self, timeout_s: float = 60.0) -> bool:
        """Until every chunk has its vector, on disk; false when that took too long or cannot be."""
        with self._wake:
            return self._wake.wait_for(lambda: self._is_idle() or bool(self.failed), timeout_s) and not self.failed

    def _is_idle(self) -> bool:
        return not (self._busy or self._waiting or self._changed or self._remake or self._forget_at < math.inf)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICE)
        try:
            embedder = self._factory()
        except GtftdError as error:
            log.exception("embedder.failed", error=str(error))
            with self._wake:
                self.failed, self._busy = str(error), False
                self._wake.notify_all()
            return
        vectors = Vectors(self._folder, Model(embedder.model_id, embedder.dimensions))
        self._begin(vectors, embedder)
        self._loop(vectors, embedder)
        vectors.close()

    def _loop(self, vectors: Vectors, embedder: Embedder) -> None:
        checked = time.monotonic()
        while self._wait_for_work():
            try:
                if time.monotonic() - checked > CHECK_S:
                    checked = time.monotonic()
                    vectors.check()
                    if len(self._gone) >= PERSIST_AT or checked - self._persisted > QUIET_S:
                        self._delete(vectors)
                self._embed_next(embedder)
                if self._remake or time.monotonic() >= self._forget_at:
                    self._make_anew(vectors)
                elif len(self._changed) >= PERSIST_AT or not self._waiting:
                    self._persist(vectors)
            except Broken as error:
                self._heal(vectors, str(error))
            except GtftdError as error:  # the texts begin anew, or their disk is full: whoever writes them is told
                log.warning("embedding.failed", error=str(error))
                self._pause(CHECK_S)
                self._wait_again()

    def _wait_again(self) -> None:
        """Everything without a vector, once more."""
        with self._lock:
            rows = self._matrix.without_vector()
        self.add(rows)

    def _pause(self, pause_s: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._stop, timeout=pause_s)

    def _wait_for_work(self) -> bool:
        """False: stop."""
        with self._wake:
            if not (self._waiting or self._changed or self._remake):
                self._busy = False
                self._wake.notify_all()
                self._wake.wait_for(
                    lambda: self._stop or self._waiting or self._changed or self._remake, timeout=CHECK_S
                )
            self._busy = True
            return not self._stop

    def _begin(self, vectors: Vectors, embedder: Embedder) -> None:
        """Open Chroma and read what it has; what it has and the texts have not goes, unless it is to be adopted."""
        try:
            self.healed += vectors.open()
            for collection in COLLECTIONS:
                self._load(vectors, collection)
            vectors.opened()
        except Broken as error:
            self._heal(vectors, str(error))
        if (self._folder.parent / _FORGET).exists():
            self._spare.clear()
            self._remake = True
        with self._lock:
            waiting = self._matrix.without_vector()
        self.embedder = embedder
        self.add(waiting)
        log.info("vectors.loaded", model=embedder.model_id, chunks=len(self._matrix), waiting=len(waiting))

    def _load(self, vectors: Vectors, collection: Collection) -> None:
        unknown: list[str] = []
        for ids, found in vectors.load(collection):
            with self._lock:
                known = set(self._matrix.set_vectors(ids, found)) if ids else set()
            if self._adopt:
                self._spare.update((id_, found[at]) for at, id_ in enumerate(ids) if id_ not in known)
            else:
                unknown += [id_ for id_ in ids if id_ not in known]
        if unknown:
            vectors.delete(collection, unknown)

    def _embed_next(self, embedder: Embedder) -> None:
        ids = self._take()
        chunks = self._texts.chunks(ids) if ids else {}
        if not chunks:
            return
        began = time.monotonic()
        spare = {id_: self._spare.pop(id_) for id_ in chunks if id_ in self._spare}
        fresh = [id_ for id_ in chunks if id_ not in spare]
        found = dict(spare)
        if fresh:
            found |= dict(zip(fresh, _embed(embedder, [chunks[id_].embed_text for id_ in fresh]), strict=True))
        self._keep(found, {id_: chunk.collection for id_, chunk in chunks.items()})
        self._adjust(time.monotonic() - began, len(ids))

    def _take(self) -> list[str]:
        """The newest that still have no vector."""
        taken: list[str] = []
        with self._wake, self._lock:
            while self._waiting and len(taken) < self._batch:
                _, _, id_ = heapq.heappop(self._waiting)
                if self._matrix.needs_vector(id_):
                    taken.append(id_)
        return taken

    def _keep(self, found: dict[str, Floats], collections: dict[str, Collection]) -> None:
        with self._lock:
            kept = self._matrix.set_vectors(list(found), np.stack(list(found.values())))
        with self._wake:
            self._changed.update((id_, collections[id_]) for id_ in kept)
        crash_point("index.embedded")

    def _adjust(self, took_s: float, count: int) -> None:
        if took_s < QUICK_S and count >= self._batch:
            self._batch = min(self._batch * 2, LARGEST)
        elif took_s > SLOW_S:
            self._batch = max(self._batch // 2, SMALLEST)

    def _persist(self, vectors: Vectors) -> None:
        with self._wake:
            changed, self._changed = self._changed, {}
        if changed:
            self._persisted = time.monotonic()
        for collection in COLLECTIONS:
            with self._lock:
                ids, found = self._matrix.vectors(_of(collection, changed))
            if ids:
                vectors.upsert(collection, ids, found)

    def _delete(self, vectors: Vectors) -> None:
        with self._wake, self._lock:
            gone = {id_: theirs for id_, theirs in self._gone.items() if self._matrix.row(id_) is None}
            self._gone = {}
        for collection in COLLECTIONS:
            if ids := _of(collection, gone):
                vectors.delete(collection, ids)

    def _heal(self, vectors: Vectors, reason: str) -> None:
        """Make Chroma anew; when even that fails, later once more: searches need it not."""
        log.warning("vectors.broken", reason=reason)
        try:
            self._make_anew(vectors)
            self.healed.append(f"chroma made anew: {reason}")
            log.info("vectors.healed", reason=reason, chunks=len(self._matrix))
        except Broken as error:
            log.exception("vectors.not_healed", reason=str(error), again_s=AGAIN_S)
            self._remake = True
            self._pause(AGAIN_S)

    def _make_anew(self, vectors: Vectors) -> None:
        """Write all that is in memory to a new folder."""
        with self._wake:
            self._remake = False
            self._changed.clear()
            self._gone.clear()
            self._forget_at = math.inf
        vectors.wipe()
        with self._wake:
            if self._forget_at == math.inf:  # else there is more to forget, and this will be done again
                (self._folder.parent / _FORGET).unlink(missing_ok=True)
        vectors.open()
        for collection in COLLECTIONS:
            with self._lock:
                ids, found = self._matrix.vectors(self._matrix.having_vector(collection))
            if ids:
                vectors.upsert(collection, ids, found)
        vectors.opened()


def _embed(embedder: Embedder, texts: list[str]) -> Floats:
    """A row for each. A text over which the model fails is like nothing, and is found by its words alone."""
    try:
        return embedder.embed_passages(texts)
    except Exception as error:  # native code, fed with whatever agents wrote
        if len(texts) == 1:
            log.warning("text.not_embedded", error=f"{type(error).__name__}: {str(error)[:200]}")
            return np.zeros((1, embedder.dimensions), np.float32)
        return np.concatenate([_embed(embedder, [text]) for text in texts])


def _of(collection: Collection, chunks: dict[str, Collection]) -> list[str]:
    return [id_ for id_, theirs in chunks.items() if theirs == collection]
