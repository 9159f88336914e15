"""A chunk and a document as `index.db` has them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from gtftd.schemas.rag import BeadCard, Collection, IndexDocument

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SELECT = """
    SELECT chunks.id, chunks.seq, chunks.document, chunks.ordinal, chunks.heading, chunks.text, chunks.embed_text,
        chunks.first_seen, chunks.gone_at, documents.collection, documents.rig, documents.roles, documents.title,
        documents.updated_at, documents.instructs, documents.bead
    FROM chunks JOIN documents ON documents.id = chunks.document
"""


@dataclass(frozen=True)
class StoredChunk:
    """A chunk with what is known of its document."""

    id: str
    document: str
    ordinal: int
    heading: str
    text: str
    embed_text: str
    first_seen: datetime
    gone_at: datetime | None
    """When an instruction was found gone; None while it holds."""
    collection: Collection
    rig: str | None
    roles: tuple[str, ...]
    title: str
    updated_at: datetime
    instructs: bool
    bead: str | None

    @property
    def first_line(self) -> str:
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "")


def chunk_of(row: tuple[object, ...]) -> StoredChunk:
    """From a row of SELECT."""
    id_, _seq, document, ordinal, heading, text, embed, seen, gone, collection, rig, roles, title, updated, *rest = row
    return StoredChunk(
        id=str(id_),
        document=str(document),
        ordinal=_int(ordinal),
        heading=str(heading),
        text=str(text),
        embed_text=str(embed),
        first_seen=moment_of(_int(seen)),
        gone_at=None if gone is None else moment_of(_int(gone)),
        collection=collection,  # type: ignore[arg-type]  # only a validated document was written
        rig=None if rig is None else str(rig),
        roles=tuple(json.loads(str(roles))),
        title=str(title),
        updated_at=moment_of(_int(updated)),
        instructs=bool(rest[0]),
        bead=None if rest[1] is None else str(rest[1]),
    )


def document_of(reader: sqlite3.Connection, row: tuple[object, ...]) -> IndexDocument:
    """From `id, collection, rig, roles, title, updated_at, instructs, card`; its text is that of its chunks."""
    id_, collection, rig, roles, title, updated, instructs, card = row
    parts = reader.execute(
        "SELECT heading, text FROM chunks WHERE document = ? AND gone_at IS NULL ORDER BY ordinal, seq", (id_,)
    )
    return IndexDocument.model_construct(
        id=str(id_),
        collection=cast("Collection", collection),
        rig=None if rig is None else str(rig),
        roles=tuple(json.loads(str(roles))),
        title=str(title),
        text=_joined(parts.fetchall()),
        updated_at=moment_of(_int(updated)),
        bead=BeadCard.model_validate_json(str(card)) if card else None,
        instructs=bool(instructs),
    )


def _joined(parts: list[tuple[str, str]]) -> str:
    """Chunks in order, each new heading above what stands under it."""
    lines: list[str] = []
    last = ""
    for heading, text in parts:
        lines.append(f"## {heading}\n{text}" if heading and heading != last else text)
        last = heading
    return "\n\n".join(lines)


def micros(moment: datetime) -> int:
    """Microseconds since 1970: exact, and in order."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
