"""What the daemon does for the corpus by itself, gently: audits after a change of rules, documents once a day."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from gtftd.errors import GtftdError
from gtftd.logs import get_logger
from gtftd.programs.parts import Parts
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.state.outbox import read_cursor, write_cursor

log = get_logger("corpus")
FIRST_S = 60.0
"""After the start, when the town has settled."""
LOOK_EVERY_S = 600.0
DOCUMENTS = "documents"
PAUSE_S = 0.05
"""Between two steps of a collection that nobody waits for."""


async def upkeep(parts: Parts) -> None:
    """Until cancelled. Whatever is cut short is done by the next look, or after the next start."""
    await asyncio.sleep(FIRST_S)
    while True:
        if parts.estop.active() is None:
            await _tried("audit", parts, audit_when_due)
            await _tried("documents", parts, collect_documents_when_due)
        await asyncio.sleep(LOOK_EVERY_S)


async def audit_when_due(parts: Parts) -> None:
    """Entries that were scrubbed by older rules, or before a secret of the town was known."""
    if not await parts.store.newest(limit=1) or not await parts.audit.is_due():
        return
    async for progress in parts.audit.run(gently=True):
        if progress.finished:
            log.info("corpus.audited", entries=progress.done, hits=progress.hits)


async def collect_documents_when_due(parts: Parts) -> None:
    """What no event tells: specs, plans, docs, interactions, and beads that changed without being closed."""
    settings = parts.settings.collection
    before = await parts.database.read(lambda connection: read_cursor(connection, DOCUMENTS))
    last = before.get("at") if before else None
    if not settings.documents or (isinstance(last, float) and time.time() - last < settings.documents_every_s):
        return
    kinds: list[Callable[[], AsyncIterator[CollectProgress]]] = [
        parts.documents.artifacts, parts.documents.interactions,
    ]  # fmt: skip
    if parts.settings.beads.enabled:
        kinds.append(parts.documents.operational)
    for collect in kinds:
        async for progress in collect():
            if progress.finished:
                log.info("documents.collected", phase=progress.phase, stored=progress.stored, done=progress.done)
            await asyncio.sleep(PAUSE_S)
    await parts.database.write(_done)


def _done(connection: sqlite3.Connection) -> None:
    write_cursor(connection, DOCUMENTS, {"at": time.time()})


async def _tried(what: str, parts: Parts, work: Callable[[Parts], Awaitable[None]]) -> None:
    try:
        await work(parts)
    except GtftdError as error:
        log.warning("upkeep.failed", what=what, error=str(error))
