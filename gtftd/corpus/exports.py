"""The lives in an export of beads, as documents: an export never takes the place of a later account."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from gtftd.corpus.bead_fate import closings_of, fate_of, is_swept, sweeps
from gtftd.corpus.filing import Document, Filed, Filing, Tally
from gtftd.corpus.operational import DOLT, Telling, bead_document, known_of
from gtftd.logs import get_logger
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.settings import LabelSettings
from gtftd.town.bead_life import BeadLife
from gtftd.town.bead_lives import read_export

log = get_logger("corpus")


@dataclass(frozen=True)
class Owner:
    """Whose bead it is: the database that names it, and the rig."""

    database: str
    rig: str | None


async def collect_export(
    filing: Filing, export: Path, owner: Callable[[str], Owner | None], labels: LabelSettings
) -> AsyncIterator[CollectProgress]:
    """`owner` tells whose a bead is; None: it is not collected. Raises Missing or Invalid for what is no export."""
    tally = Tally("operational")
    yield tally.progress("reading the export")
    lives, problems = await asyncio.to_thread(read_export, export)
    told_by = f"export:{hashlib.sha256(str(export.resolve()).encode(errors='replace')).hexdigest()[:12]}"
    found = sweeps(closings_of(lives), labels)
    filed = await filing.filed("operational")
    tally.total = len(lives)
    for life in lives:
        whose = owner(life.bead)
        if whose is None:
            tally.skip()
        else:
            telling = Telling("export", told_by, whose.database, whose.rig)
            document = _document(life, telling, swept=is_swept(life, found))
            if await _is_later_told(filing, filed, document, life):
                tally.done += 1
                tally.unchanged += 1
            else:
                await filing.put(document, tally)
        if tally.is_due:
            yield tally.progress()
    if problems:
        log.info("export.skipped_lines", **problems)
    yield tally.progress(_note(problems), finished=True)


def _document(life: BeadLife, telling: Telling, *, swept: bool) -> Document:
    return bead_document(life, telling, lambda life, slings: fate_of(life, slings, telling.database, is_swept=swept))


async def _is_later_told(filing: Filing, filed: dict[str, Filed], document: Document, life: BeadLife) -> bool:
    """Whether somebody else has told of a later moment, or of the same one and no less."""
    row = filed.get(document.entry_id)
    if row is None or row.ended_at is None or document.ended_at is None:
        return False
    if row.ended_at < document.ended_at.timestamp():
        return False
    entry = await filing.read(row.sha256)
    if entry.cut == document.cut:
        return False
    return row.ended_at > document.ended_at.timestamp() or entry.cut == DOLT or known_of(entry) >= life.known


def _note(problems: Counter[str]) -> str:
    return f"lines skipped: {', '.join(f'{kind} {count}' for kind, count in problems.items())}" if problems else ""
