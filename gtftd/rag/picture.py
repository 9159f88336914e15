"""What a short prime needs to know of the town, and how the index tells it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from gtftd.rag.stored import SELECT, StoredChunk, chunk_of, moment_of
from gtftd.schemas.rag import IndexDocument, SearchQuery, SearchResult
from gtftd.town.formula import formula_name

if TYPE_CHECKING:
    from gtftd.rag.index import Index

MOST_LIVING = 3000
MOST_CHUNKS = 400
"""Of one document, or that changed: far more than a prime can hold."""


@dataclass(frozen=True)
class Brief:
    """A bead in a line."""

    bead: str
    document: str
    rig: str | None
    title: str
    status: str
    issue_type: str
    assignee: str | None
    needs: tuple[str, ...]
    updated_at: datetime


@dataclass(frozen=True)
class Named:
    """A document by its name alone."""

    document: str
    rig: str | None
    updated_at: datetime


class TownPicture(Protocol):
    """The town as it is now. Whose something is stands in `rig`: None is the town's."""

    def is_empty(self) -> bool: ...

    def card(self, bead: str) -> IndexDocument | None:
        """Of any rig: the caller looks whose it is."""
        ...

    def on_hook(self, actor: str) -> Sequence[IndexDocument]:
        """What is assigned and not closed, of any rig: hooked first, then in progress, then open."""
        ...

    def living(self, rig: str | None) -> Sequence[Brief]:
        """Beads of the town and of this rig that are not closed, the most urgent and then the newest first."""
        ...

    def formulas(self, name: str) -> Sequence[Named]:
        """Formulas of this name, of any rig."""
        ...

    def chunks(self, document: str) -> Sequence[StoredChunk]:
        """The first ones of a document, in order."""
        ...

    def instructions_since(self, moment: datetime, rig: str | None, role: str | None) -> Sequence[StoredChunk]:
        """What instructs this role in this rig and was first said after the moment; conventions before formulas."""
        ...

    def instructions_gone_since(self, moment: datetime, rig: str | None, role: str | None) -> Sequence[StoredChunk]: ...

    def search(self, query: SearchQuery) -> SearchResult: ...


class IndexPicture:
    """The picture that an index holds."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.card = index.card
        self.on_hook = index.on_hook
        self.instructions_since = index.instructions_since
        self.instructions_gone_since = index.instructions_gone_since
        self.search = index.search

    def is_empty(self) -> bool:
        return not self._rows("SELECT 1 FROM documents WHERE gone_at IS NULL LIMIT 1", ())

    def living(self, rig: str | None) -> list[Brief]:
        where = (
            "SELECT id, rig, title, updated_at, card FROM documents WHERE gone_at IS NULL AND status IS NOT NULL"
            " AND status NOT IN ('closed', 'tombstone') AND (rig IS NULL OR rig = ?)"
            " ORDER BY COALESCE(priority, 9), updated_at DESC, id LIMIT ?"
        )
        return [_brief(row) for row in self._rows(where, (rig, MOST_LIVING))]

    def formulas(self, name: str) -> list[Named]:
        where = "SELECT id, rig, updated_at FROM documents WHERE gone_at IS NULL AND collection = 'formulas'"
        rows = self._rows(where, ())
        return [
            Named(str(id_), None if rig is None else str(rig), moment_of(_int(at)))
            for id_, rig, at in rows
            if formula_name(str(id_)) == name
        ]

    def chunks(self, document: str) -> list[StoredChunk]:
        where = (
            f"{SELECT} WHERE chunks.document = ? AND chunks.gone_at IS NULL AND documents.gone_at IS NULL"
            " ORDER BY chunks.ordinal, chunks.seq LIMIT ?"
        )
        return [chunk_of(row) for row in self._rows(where, (document, MOST_CHUNKS))]

    def _rows(self, where: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        def work(reader: sqlite3.Connection) -> list[tuple[object, ...]]:
            return reader.execute(where, values).fetchall()

        return self._index.texts.read(work)  # anew each time: the index may have begun anew


def _brief(row: tuple[object, ...]) -> Brief:
    id_, rig, title, updated, card = row
    told = json.loads(str(card))
    return Brief(
        bead=told["bead"],
        document=str(id_),
        rig=None if rig is None else str(rig),
        title=str(title),
        status=told["status"],
        issue_type=told.get("issue_type", "task"),
        assignee=told.get("assignee"),
        needs=tuple(told.get("needs", ())),
        updated_at=moment_of(_int(updated)),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
