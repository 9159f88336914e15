"""The index: what the town says, searched by words and by meaning.

All of it is derived. What is broken is made anew: vectors from what is in memory or by embedding again, the texts by
beginning a new generation, which whoever feeds the index sees.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from gtftd.errors import Corrupt, NotReady
from gtftd.logs import get_logger
from gtftd.rag import lookups
from gtftd.rag.chunking import chunks_of
from gtftd.rag.embedding_queue import EmbeddingQueue
from gtftd.rag.folder import FolderLock, bytes_in, resident_bytes
from gtftd.rag.matrix import Floats, Matrix, Row
from gtftd.rag.names import Names, names_of_document
from gtftd.rag.search import Search
from gtftd.rag.stored import StoredChunk, moment_of
from gtftd.rag.texts import Change, Texts, now, remove_file
from gtftd.rag.wordbook import Wordbook
from gtftd.schemas.rag import (
    COLLECTIONS,
    CollectionStatus,
    IndexDocument,
    IndexStatus,
    PutResult,
    SearchQuery,
    SearchResult,
)
from gtftd.state.crash import crash_point

if TYPE_CHECKING:
    from gtftd.rag.embedding import Embedder

T = TypeVar("T")
log = get_logger("rag")
_FILE = "index.db"


class Index:
    """Thread-safe. A put or a removal is seen by every search that begins after it returned, by its words;
    its vectors follow.
    """

    def __init__(
        self,
        folder: Path,
        embedder_factory: Callable[[], Embedder],
        lock: FolderLock,
        *,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._folder = folder
        self._folder_lock = lock
        self._clock = clock
        self._writing = threading.RLock()
        self._lock = threading.Lock()
        self._matrix = Matrix()
        self._names = Names()
        self._words = Wordbook()
        self._healed: list[str] = []
        self._texts = Texts.open(folder / _FILE)
        self._inode = (folder / _FILE).stat().st_ino
        if self._texts.healed:
            self._note(self._texts.healed)
        self._read_texts()
        self._queue = EmbeddingQueue(
            folder / "chroma",
            embedder_factory,
            self._texts,
            self._matrix,
            self._lock,
            adopt=self._texts.revision == 0,
        )
        self._search = Search(self._matrix, self._names, self._words, self._lock)
        self._queue.start()

    @property
    def texts(self) -> Texts:
        """What is on disk, to be read; another one once the index began anew."""
        return self._texts

    @classmethod
    def open(
        cls, folder: Path, embedder_factory: Callable[[], Embedder], *, clock: Callable[[], datetime] = now
    ) -> Self:
        """Heals whatever it finds. Conflict when another process owns the folder.

        The embedding model is loaded in the background; words are searched meanwhile.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FolderLock.take(folder)
        try:
            return cls(folder, embedder_factory, lock, clock=clock)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        with self._writing:
            self._queue.close()
            self._texts.close()
            self._folder_lock.release()

    def put(self, documents: Sequence[IndexDocument], *, forget: bool = False) -> PutResult:
        """Take over what is new; documents that are older than what is stored change nothing.

        Killed before the commit it never was, killed after it the next start finds all of it.
        """
        items = [(document, chunks_of(document)) for document in documents]
        with self._writing:
            change = self._change(lambda: self._texts.put(items, forget=forget), forget=forget)
            self._apply(change)
        return _result(change)

    def remove(self, ids: Sequence[str], forget: bool = False) -> PutResult:
        with self._writing:
            change = self._change(lambda: self._texts.remove(ids, at=self._clock(), forget=forget), forget=forget)
            self._apply(change)
            with self._lock:
                for id_ in ids:
                    self._names.remove(id_)
        return _result(change)

    def ids(self, prefix: str) -> list[str]:
        return self._read(lambda: self._texts.ids(prefix))

    def search(self, query: SearchQuery) -> SearchResult:
        texts = self._texts
        return self._read(lambda: self._search.search(query, texts, self._queue.embedder, self._clock()))

    def document(self, id_: str) -> IndexDocument | None:
        return self._read(lambda: lookups.document(self._texts, id_))

    def card(self, bead: str) -> IndexDocument | None:
        """The bead's document, its card included. The caller looks whose it is: `rig`."""
        return self._read(lambda: lookups.card(self._texts, bead))

    def on_hook(self, actor: str) -> list[IndexDocument]:
        """What is assigned to the actor and not closed: hooked first, then in progress, then open."""
        return self._read(lambda: lookups.on_hook(self._texts, actor))

    def instructions_since(self, moment: datetime, rig: str | None, role: str | None) -> list[StoredChunk]:
        """What instructs this role in this rig and was first said after the moment, in the order of its documents."""
        return self._read(lambda: lookups.instructions_since(self._texts, moment, rig, role))

    def instructions_gone_since(self, moment: datetime, rig: str | None, role: str | None) -> list[StoredChunk]:
        """What held at the moment and holds no more; only its heading and `first_line` are for telling."""
        return self._read(lambda: lookups.instructions_gone_since(self._texts, moment, rig, role))

    def begin_anew(self, reason: str = "asked to") -> None:
        """Wipe everything; a new generation begins."""
        with self._writing:
            self._queue.will_forget()
            self._start_over(reason, {})

    def _start_over(self, reason: str, spare: dict[str, Floats]) -> None:
        self._note(f"began anew: {reason}")
        self._texts.close()
        remove_file(self._folder / _FILE)
        self._texts = Texts.open(self._folder / _FILE)
        self._inode = (self._folder / _FILE).stat().st_ino
        with self._lock:
            self._matrix.clear()
            self._names.clear()
        self._words.clear()
        self._queue.begin_anew(self._texts, spare)

    def _heal(self, reason: str) -> None:
        """The texts are lost; whoever feeds us sees the new generation, and vectors are kept for what comes again."""
        with self._writing:
            with self._lock:
                ids = [id_ for name in COLLECTIONS for id_ in self._matrix.having_vector(name)]
                spare = dict(zip(*self._matrix.vectors(ids), strict=True))
            self._start_over(reason, spare)

    def check(self) -> None:
        """Begin anew when the file of the texts was removed or replaced under us. Cheap: call it every few seconds."""
        try:
            found = (self._folder / _FILE).stat().st_ino
        except OSError:
            found = 0
        if found != self._inode:
            self._heal(f"{_FILE} was removed or replaced")

    def wait_embedded(self, timeout_s: float = 60.0) -> bool:
        """Until every chunk has its vector, on disk too; false when it took too long, or there is no model."""
        return self._queue.wait_idle(timeout_s)

    def status(self) -> IndexStatus:
        counts = self._read(self._texts.counts)
        embedder = self._queue.embedder
        with self._lock:
            waiting = len(self._matrix) - self._matrix.with_vector
            vectors = {name: len(self._matrix.having_vector(name)) for name in COLLECTIONS}
        return IndexStatus(
            generation=self._texts.generation,
            revision=self._texts.revision,
            model=embedder.model_id if embedder else "",
            dimensions=embedder.dimensions if embedder else 0,
            waiting=waiting,
            collections=tuple(
                CollectionStatus(
                    name=name,
                    documents=counts.get(name, (0, 0, 0))[0],
                    chunks=counts.get(name, (0, 0, 0))[1],
                    vectors=vectors[name],
                    newest=moment_of(counts[name][2]) if name in counts else None,
                )
                for name in COLLECTIONS
            ),
            folder=str(self._folder),
            bytes=bytes_in(self._folder),
            healed=(*self._healed, *self._queue.healed),
            pid=os.getpid(),
            rss_bytes=resident_bytes(),
        )

    def _read_texts(self) -> None:
        """Words and rows of everything that is stored, into memory."""
        for page in self._texts.every_chunk():
            self._remember(page)

    def _remember(self, chunks: Sequence[StoredChunk], removed: Sequence[str] = ()) -> list[Row]:
        rows = [_row(chunk) for chunk in chunks]
        with self._lock:
            for chunk, row in zip(chunks, rows, strict=True):
                self._names.put(chunk.document, names_of_document(chunk.document, chunk.collection, chunk.bead))
                self._matrix.put(row)
        self._words.change(chunks, removed)
        return rows

    def _change(self, work: Callable[[], Change], *, forget: bool) -> Change:
        if forget:
            self._queue.will_forget()
        try:
            change = work()
        except Corrupt as error:
            self._heal(str(error))
            raise NotReady(f"{error}; feed it again") from error
        crash_point("index.committed")
        if forget:
            self._queue.will_forget()
        return change

    def _apply(self, change: Change) -> None:
        """Make memory agree with what was committed."""
        with self._lock:
            gone = [row for id_ in change.removed if (row := self._matrix.row(id_)) is not None]
            for row in gone:
                self._matrix.remove(row.id)
            for document in change.touched:
                for row in self._matrix.of_document(document.id):
                    self._matrix.put(replace(row, roles=document.roles, updated_at=document.updated_at))
            again = [row.id for id_ in change.retitled for row in self._matrix.of_document(id_)]
        fresh = {chunk.id for _, chunk in change.added}
        rows = self._remember(list(self._texts.chunks([*fresh, *again]).values()), change.removed)
        self._queue.removed((row.id, row.collection) for row in gone)
        self._queue.add(row for row in rows if row.id in fresh)

    def _read(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Corrupt as error:
            self._heal(str(error))
            raise NotReady(f"{error}; it will be fed again") from error

    def _note(self, healed: str) -> None:
        log.warning("index.healed", what=healed)
        self._healed.append(healed)


def _row(chunk: StoredChunk) -> Row:
    return Row(
        id=chunk.id,
        document=chunk.document,
        collection=chunk.collection,
        rig=chunk.rig,
        roles=chunk.roles,
        updated_at=chunk.updated_at,
        ordinal=chunk.ordinal,
    )


def _result(change: Change) -> PutResult:
    return PutResult(
        added=len(change.added), removed=len(change.removed), unchanged=change.unchanged, revision=change.revision
    )
