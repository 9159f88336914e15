"""Vectors on disk: Chroma, a collection for each kind of text, ids and vectors alone.

Chroma is where they are kept and loaded from; searches look at memory alone. Whatever is wrong with it is `Broken`,
and the index makes it anew from what is in memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gtftd.errors import GtftdError
from gtftd.logs import get_logger
from gtftd.rag.matrix import Floats
from gtftd.schemas.rag import COLLECTIONS, Collection
from gtftd.state.crash import crash_point

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection as ChromaCollection

log = get_logger("rag")
PAGE = 2000
MOST_DEATHS = 2
"""Openings that nobody survived: one may have been killed by chance."""
_MARK = "chroma.opening"
_HEADER = b"SQLite format 3\0"


class Broken(GtftdError):
    """The vectors on disk are not what was written; they must be made anew."""


@dataclass(frozen=True)
class Model:
    """What made the vectors: those of two models are never mixed."""

    id: str
    dimensions: int


class Vectors:
    """The folder `chroma`. One thread uses it at a time."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder = folder
        self.model = model
        self._client: Client | None = None
        self._collections: dict[Collection, ChromaCollection] = {}
        self._inode = 0

    def open(self) -> list[str]:
        """Open or create; returns what had to be made anew, in words. A folder that cannot be opened is wiped.

        A mark stands while it is opened: native code does not die over a broken folder for ever.
        """
        mark = self.folder.with_name(_MARK)
        deaths = mark.stat().st_size if mark.exists() else 0
        healed = []
        if deaths >= MOST_DEATHS:
            healed.append(f"the process died {deaths} times while it opened chroma")
            self.wipe()
        with mark.open("ab") as marks:
            marks.write(b"x")
        try:
            healed += self._connect()
        except Broken as error:
            healed.append(f"chroma could not be opened: {error}")
            self.wipe()
            self._connect()
        return healed

    def opened(self) -> None:
        """All of it was read, and nobody died."""
        self.folder.with_name(_MARK).unlink(missing_ok=True)

    def close(self) -> None:
        client, self._client = self._client, None
        self._collections.clear()
        if client is not None:
            with contextlib.suppress(Broken), _broken("close"):
                client.close()
            _zero_free_memory()

    def wipe(self) -> None:
        """Remove all of it; `open` makes it anew."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.unlink(missing_ok=True) if self.folder.is_file() else None
        crash_point("vectors.wiped")

    def check(self) -> None:
        """Raises Broken when somebody removed, replaced or overwrote the folder; costs one read of 16 bytes."""
        file = self.folder / "chroma.sqlite3"
        try:
            with file.open("rb") as opened:
                inode, header = os.fstat(opened.fileno()).st_ino, opened.read(len(_HEADER))
        except OSError as error:
            raise Broken(f"{file.name}: {error.strerror}") from error
        if inode != self._inode:
            raise Broken(f"{file.name} was replaced by another file")
        if header != _HEADER:
            raise Broken(f"{file.name} was overwritten")

    def upsert(self, collection: Collection, ids: Sequence[str], vectors: Floats) -> None:
        with _broken("upsert"):
            for at in range(0, len(ids), PAGE):
                self._of(collection).upsert(ids=list(ids[at : at + PAGE]), embeddings=vectors[at : at + PAGE])
        crash_point("vectors.upserted")

    def delete(self, collection: Collection, ids: Sequence[str]) -> None:
        with _broken("delete"):
            for at in range(0, len(ids), PAGE):
                self._of(collection).delete(ids=list(ids[at : at + PAGE]))

    def load(self, collection: Collection) -> Iterator[tuple[list[str], Floats]]:
        """All that is there, in pages; what is no vector of this model is left out."""
        with _broken("load"):
            ids = self._of(collection).get(include=[])["ids"]
        for at in range(0, len(ids), PAGE):
            with _broken("load"):
                page = self._of(collection).get(ids=ids[at : at + PAGE], include=["embeddings"])
                found = np.asarray(page["embeddings"], np.float32).reshape(len(page["ids"]), -1)
            yield self._sound(page["ids"], found)

    def count(self, collection: Collection) -> int:
        with _broken("count"):
            return self._of(collection).count()

    def _sound(self, ids: list[str], vectors: Floats) -> tuple[list[str], Floats]:
        """Vectors have length one (or none, where a text says nothing): a page of noise does not."""
        if not ids or vectors.shape[1] != self.model.dimensions:
            return [], np.zeros((0, self.model.dimensions), np.float32)
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(vectors, axis=1)
            good = (np.abs(lengths - 1) < 1e-3) | (lengths == 0)
        return [id_ for id_, is_good in zip(ids, good, strict=True) if is_good], vectors[good]

    def _connect(self) -> list[str]:
        import chromadb
        from chromadb.config import Settings

        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        remade = []
        with _broken("open"):
            client = chromadb.PersistentClient(path=str(self.folder), settings=Settings(anonymized_telemetry=False))
            assert isinstance(client, chromadb.api.client.Client), "a persistent client can be closed"
            self._client = client
            for name in COLLECTIONS:
                remade += self._open_collection(client, name)
        self._inode = (self.folder / "chroma.sqlite3").stat().st_ino
        return remade

    def _open_collection(self, client: Client, name: Collection) -> list[str]:
        metadata = {"hnsw:space": "cosine", "model": self.model.id, "dimensions": self.model.dimensions}
        collection = client.get_or_create_collection(name, metadata=metadata, embedding_function=None)
        found = collection.metadata or {}
        remade = []
        if (found.get("model"), found.get("dimensions")) != (self.model.id, self.model.dimensions):
            remade.append(f"{name}: its vectors were made by {found.get('model')}, now is {self.model.id}")
            log.warning("collection.remade", collection=name, made_by=str(found.get("model")), now=self.model.id)
            client.delete_collection(name)
            collection = client.create_collection(name, metadata=metadata, embedding_function=None)
        self._collections[name] = collection
        return remade

    def _of(self, collection: Collection) -> ChromaCollection:
        if self._client is None:
            raise Broken("chroma is closed")
        return self._collections[collection]


def _zero_free_memory() -> None:
    """Chroma writes memory to disk that it did not set to anything: what it deleted would be there once more."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextlib.contextmanager
def _broken(doing: str) -> Iterator[None]:
    """Chroma's errors, SQLite's behind it and panics of its native code have no common class but this."""
    try:
        yield
    except GtftdError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise Broken(f"{doing}: {type(error).__name__}: {str(error)[:300]}") from error
