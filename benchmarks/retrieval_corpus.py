"""The real town's documents as the index gets them, and the queries that judge how they are found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gtftd.rag.entry_text import clipped, collection_of
from gtftd.schemas.rag import BeadCard, IndexDocument
from gtftd.town.formula import formula_name

QUERIES = Path(__file__).parent / "retrieval_queries.jsonl"
_FILES = ("gastown/files", "beads/files")
_BEADS = "gastown/beads-backup-2026-03/issues.jsonl"
_ENDINGS = (".md", ".toml", ".tmpl")
_WRITTEN_AT = datetime(2026, 3, 5, tzinfo=UTC)
_PROSE = ("description", "design", "acceptance_criteria", "notes")


@dataclass(frozen=True)
class Relevant:
    document: str
    """A path below the data's folder, or `bead:<id>`."""
    contains: str = ""


@dataclass(frozen=True)
class Question:
    id: str
    split: str
    kind: str
    query: str
    relevant: tuple[Relevant, ...]

    def is_answered(self, document: str, text: str) -> bool:
        """By a chunk of a right document that says what it must."""
        said = _flat(text)
        return any(_name(document) == one.document and _flat(one.contains) in said for one in self.relevant)


def read_questions(path: Path = QUERIES) -> list[Question]:
    made = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        relevant = tuple(Relevant(one["document"], one.get("contains", "")) for one in row["relevant"])
        made.append(Question(row["id"], row["split"], row["kind"], row["query"], relevant))
    return made


def read_documents(data: Path) -> list[IndexDocument]:
    return [*_files(data), *_beads(data)]


def _files(data: Path) -> Iterator[IndexDocument]:
    for folder in _FILES:
        for path in sorted((data / folder).rglob("*")):
            if not (path.is_file() and path.name.endswith(_ENDINGS)):
                continue
            origin = f"file:{path.relative_to(data).as_posix()}"
            text = clipped(path.read_text(errors="replace"))
            if text.strip():
                collection = collection_of("artifact", origin)
                title = formula_name(path.name) if collection == "formulas" else origin.removeprefix("file:")
                yield IndexDocument(id=origin, collection=collection, title=title, text=text, updated_at=_WRITTEN_AT)


def _beads(data: Path) -> Iterator[IndexDocument]:
    for line in (data / _BEADS).read_text().splitlines():
        row = json.loads(line)
        yield IndexDocument(
            id=f"bead:gastown/{row['id']}",
            collection="beads",
            rig="gastown",
            title=row["title"],
            text=clipped(_told(row)),
            updated_at=datetime.fromisoformat(row["updated_at"]),
            bead=BeadCard(bead=row["id"], status=row["status"], issue_type=row["issue_type"]),
        )


def _told(row: dict[str, str]) -> str:
    """As the corpus tells a bead's life."""
    head = [f"type: {row['issue_type']}", f"status: {row['status']}"]
    names = ("priority", "owner", "created_by", "assignee", "created_at", "closed_at", "close_reason")
    head += [f"{name.removesuffix('_at')}: {row[name]}" for name in names if row[name] not in (None, "")]
    parts = [f"# {row['id']}: {row['title']}", "\n".join(head)]
    parts += [f"## {name.replace('_', ' ').capitalize()}\n\n{row[name].strip()}" for name in _PROSE if row[name]]
    return "\n\n".join(parts)


def _name(document: str) -> str:
    if document.startswith("bead:"):
        return f"bead:{document.rpartition('/')[2]}"
    return document.removeprefix("file:")


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()
