"""What is read from the texts by name rather than searched: beads by state, instructions by age."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from gtftd.rag.stored import SELECT, StoredChunk, chunk_of, document_of, micros
from gtftd.rag.texts import Texts
from gtftd.schemas.rag import IndexDocument

MOST = 500
_DOCUMENT = "SELECT id, collection, rig, roles, title, updated_at, instructs, card FROM documents"
_MINE = "(documents.rig IS NULL OR documents.rig = ?)"
_FOR_ROLE = "(documents.roles = '[]' OR EXISTS (SELECT 1 FROM json_each(documents.roles) WHERE value = ?))"


def document(texts: Texts, id_: str) -> IndexDocument | None:
    """As it was put; its text is that of its chunks."""
    found = _documents(texts, "WHERE id = ? AND gone_at IS NULL", (id_,))
    return found[0] if found else None


def card(texts: Texts, bead: str) -> IndexDocument | None:
    """Of two databases that know a bead of this id, the newest."""
    found = _documents(texts, "WHERE bead = ? AND gone_at IS NULL ORDER BY updated_at DESC LIMIT 1", (bead,))
    return found[0] if found else None


def on_hook(texts: Texts, actor: str) -> list[IndexDocument]:
    where = """
        WHERE assignee = ? AND gone_at IS NULL AND status IN ('hooked', 'in_progress', 'open')
        ORDER BY CASE status WHEN 'hooked' THEN 0 WHEN 'in_progress' THEN 1 ELSE 2 END,
            COALESCE(priority, 9), updated_at DESC, id
        LIMIT 50
    """
    return _documents(texts, where, (actor,))


def instructions_since(texts: Texts, moment: datetime, rig: str | None, role: str | None) -> list[StoredChunk]:
    """Conventions before formulas: an upgrade that rewrites them all must not hide the one line that matters."""
    where = (
        f"{SELECT} WHERE documents.instructs AND chunks.gone_at IS NULL AND chunks.first_seen > ?"
        f" AND {_MINE} AND {_FOR_ROLE} ORDER BY documents.collection = 'formulas', chunks.first_seen DESC,"
        f" chunks.document, chunks.ordinal LIMIT {MOST}"
    )
    return _chunks(texts, where, (micros(moment), rig, role))


def instructions_gone_since(texts: Texts, moment: datetime, rig: str | None, role: str | None) -> list[StoredChunk]:
    where = (
        f"{SELECT} WHERE documents.instructs AND chunks.gone_at > ? AND chunks.first_seen <= ?"
        f" AND {_MINE} AND {_FOR_ROLE} ORDER BY chunks.gone_at DESC, chunks.document, chunks.ordinal LIMIT {MOST}"
    )
    return _chunks(texts, where, (micros(moment), micros(moment), rig, role))


def _documents(texts: Texts, where: str, values: tuple[object, ...]) -> list[IndexDocument]:
    def work(reader: sqlite3.Connection) -> list[IndexDocument]:
        rows = reader.execute(f"{_DOCUMENT} {where}", values).fetchall()
        return [document_of(reader, row) for row in rows]

    return texts.read(work)


def _chunks(texts: Texts, where: str, values: tuple[object, ...]) -> list[StoredChunk]:
    return [chunk_of(row) for row in texts.read(lambda reader: reader.execute(where, values).fetchall())]
