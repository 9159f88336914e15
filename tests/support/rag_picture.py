"""A picture of a town in memory, and the real one that lies beside the checkout."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from gtftd.corpus.life_text import tell_life
from gtftd.corpus.slings import slings_of
from gtftd.rag.chunking import Chunk, chunks_of
from gtftd.rag.picture import Brief, Named
from gtftd.rag.stored import StoredChunk
from gtftd.schemas.rag import BeadCard, Hit, IndexDocument, SearchQuery, SearchResult
from gtftd.town.bead_life import BeadLife
from gtftd.town.bead_lives import read_export
from gtftd.town.formula import formula_name

REAL = Path(__file__).parents[3] / "shared" / "data" / "gastown"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
TRAINED = datetime(2026, 2, 1, tzinfo=UTC)
_WAITS = frozenset({"blocks", "parent-child", "conditional-blocks", "waits-for"})
_ORDER = {"hooked": 0, "in_progress": 1, "open": 2}


class MemoryPicture:
    """What an index of these documents would tell; found by common words alone."""

    def __init__(self, documents: Iterable[IndexDocument], gone: Iterable[StoredChunk] = ()) -> None:
        self.documents = {document.id: document for document in documents}
        self.gone = list(gone)
        self._chunks = {id_: stored(document) for id_, document in self.documents.items()}

    def is_empty(self) -> bool:
        return not self.documents

    def card(self, bead: str) -> IndexDocument | None:
        found = [one for one in self.documents.values() if one.bead and one.bead.bead == bead]
        return max(found, key=lambda one: one.updated_at, default=None)

    def on_hook(self, actor: str) -> list[IndexDocument]:
        cards = [(one, one.bead) for one in self.documents.values() if one.bead]
        mine = [one for one, card in cards if card.assignee == actor and card.status in _ORDER]
        return sorted(mine, key=lambda one: (_ORDER[one.bead.status] if one.bead else 9, one.id))

    def living(self, rig: str | None) -> list[Brief]:
        found = [one for one in self.documents.values() if one.bead and one.rig in {None, rig}]
        return [brief(one) for one in found if one.bead and one.bead.status != "closed"]

    def formulas(self, name: str) -> list[Named]:
        found = (one for one in self.documents.values() if one.collection == "formulas")
        return [Named(one.id, one.rig, one.updated_at) for one in found if formula_name(one.id) == name]

    def chunks(self, document: str) -> list[StoredChunk]:
        return self._chunks.get(document, [])

    def instructions_since(self, moment: datetime, rig: str | None, role: str | None) -> list[StoredChunk]:
        every = (chunk for chunks in self._chunks.values() for chunk in chunks)
        return [one for one in every if one.instructs and one.first_seen > moment and _for(one, rig, role)]

    def instructions_gone_since(self, moment: datetime, rig: str | None, role: str | None) -> list[StoredChunk]:
        return [one for one in self.gone if one.gone_at and one.gone_at > moment and _for(one, rig, role)]

    def search(self, query: SearchQuery) -> SearchResult:
        words = set(query.text.lower().split())
        seen = [one for chunks in self._chunks.values() for one in chunks if one.rig in {None, query.rig}]
        scored = sorted(((len(words & set(one.text.lower().split())), one) for one in seen), key=_best)
        hits = [_hit(one, score / (1 + len(words))) for score, one in scored[: query.limit] if score]
        return SearchResult(hits=tuple(hits), searched=len(seen))


class UnseenPicture(MemoryPicture):
    """Tells of every rig to everybody, as a broken index might."""

    def living(self, rig: str | None) -> list[Brief]:
        return [brief(one) for one in self.documents.values() if one.bead]

    def instructions_since(self, moment: datetime, rig: str | None, role: str | None) -> list[StoredChunk]:
        every = (chunk for chunks in self._chunks.values() for chunk in chunks)
        return [one for one in every if one.instructs and one.first_seen > moment]

    def search(self, query: SearchQuery) -> SearchResult:
        every = [one for chunks in self._chunks.values() for one in chunks]
        return SearchResult(hits=tuple(_hit(one, 1.0) for one in every), searched=len(every))


def bead(
    id_: str,
    text: str = "",
    *,
    title: str = "A task",
    rig: str | None = "gastown",
    at: datetime = LONG_AGO,
    status: str = "open",
    **card: object,
) -> IndexDocument:
    told = f"# {id_}: {title}\n\ntype: task\nstatus: {status}\n\n## Description\n\n{text}"
    return IndexDocument(
        id=f"bead:{rig or 'hq'}/{id_}",
        collection="beads",
        rig=rig,
        title=f"{id_}: {title}"[:500],
        text=told[:200_000],
        updated_at=at,
        bead=BeadCard.model_validate({"bead": id_, "status": status, **card}),
    )


def file(path: str, text: str, *, rig: str | None = None, at: datetime = LONG_AGO, role: str = "") -> IndexDocument:
    """An instruction, or a formula."""
    return IndexDocument(
        id=f"file:{path}",
        collection="formulas" if ".formula." in path else "configs",
        rig=rig,
        roles=(role,) if role else (),
        title=path,
        text=text[:200_000],
        updated_at=at,
        instructs=True,
    )


def stored(document: IndexDocument, *, gone_at: datetime | None = None) -> list[StoredChunk]:
    return [_stored(document, chunk, gone_at) for chunk in chunks_of(document)]


def real_documents() -> list[IndexDocument]:
    """Formulas, role templates, the town's CLAUDE.md and all beads of the newest backup, as the town of rig gastown."""
    files = REAL / "files"
    found = [
        file(f".beads/formulas/{path.name}", path.read_text())
        for path in sorted((files / "internal/formula/formulas").glob("*.formula.toml"))
    ]
    for path in sorted((files / "internal/templates/roles").glob("*.md.tmpl")):
        role = path.name.partition(".")[0]
        text = path.read_text().replace("{{ cmd }}", "gt").replace("{{ .RigName }}", "gastown")
        found.append(file(f"prime/{role}.md", text, role=role).model_copy(update={"id": f"prime:{role}/"}))
    found.append(file("CLAUDE.md", (files / "internal/templates/townroot/claude.md").read_text()))
    lives, _ = read_export(REAL / "beads-backup-2026-03")
    return found + [life_document(life) for life in lives if not life.is_mail]


def life_document(life: BeadLife) -> IndexDocument:
    needs, needed = ([*links] for links in (life.needs, life.needed_by))
    return IndexDocument(
        id=f"bead:gastown/{life.bead}",
        collection="beads",
        rig=None if life.bead.startswith("hq-") else "gastown",
        title=f"{life.bead}: {life.issue.title}"[:500],
        text=tell_life(life, slings_of(life, ()))[:200_000],
        updated_at=life.last_at or LONG_AGO,
        bead=BeadCard(
            bead=life.bead,
            status=life.issue.status,
            issue_type=life.kind,
            assignee=life.issue.assignee,
            parent=next((link.target for link in needs if link.type == "parent-child"), None),
            needs=tuple(link.target for link in needs if link.type in _WAITS),
            needed_by=tuple(link.bead for link in needed if link.type in _WAITS),
            related=tuple(link.target for link in needs if link.type not in _WAITS),
            formula=life.attributes.get("attached_formula"),
        ),
    )


def brief(document: IndexDocument) -> Brief:
    card = document.bead
    assert card is not None
    return Brief(
        bead=card.bead,
        document=document.id,
        rig=document.rig,
        title=document.title,
        status=card.status,
        issue_type=card.issue_type,
        assignee=card.assignee,
        needs=card.needs,
        updated_at=document.updated_at,
    )


def _stored(document: IndexDocument, chunk: Chunk, gone_at: datetime | None) -> StoredChunk:
    return StoredChunk(
        id=chunk.id,
        document=document.id,
        ordinal=chunk.ordinal,
        heading=chunk.heading,
        text=chunk.text,
        embed_text=chunk.embed_text,
        first_seen=document.updated_at,
        gone_at=gone_at,
        collection=document.collection,
        rig=document.rig,
        roles=document.roles,
        title=document.title,
        updated_at=document.updated_at,
        instructs=document.instructs,
        bead=document.bead.bead if document.bead else None,
    )


def _for(chunk: StoredChunk, rig: str | None, role: str | None) -> bool:
    return chunk.rig in {None, rig} and (not chunk.roles or role in chunk.roles)


def _best(found: tuple[int, StoredChunk]) -> tuple[int, str]:
    return -found[0], found[1].id


def _hit(chunk: StoredChunk, score: float) -> Hit:
    return Hit(
        chunk=chunk.id,
        document=chunk.document,
        collection=chunk.collection,
        rig=chunk.rig,
        title=chunk.title,
        heading=chunk.heading,
        text=chunk.text,
        updated_at=chunk.updated_at,
        score=score,
    )
